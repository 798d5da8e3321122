/** The host's own modules, by the relative path that also works below a sub-path. They exist in every frontend from 1.27 on. */
declare module '*/scripts/app.js' {
  export const app: unknown
}
declare module '*/scripts/api.js' {
  export const api: unknown
}
