/** Work that nobody awaits, and whose failure means nothing to anybody. `_why` tells the reader that. Whatever else is not awaited goes through `background()`. */
export function quietly(_why: string, work: Promise<unknown> | undefined): void {
  work?.catch(() => undefined)
}
