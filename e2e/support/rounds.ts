/** For the tests of faults that must hold every time: how often they are run again. `TIMES=20 npm run faults` says 20; in `npm test` once is enough. */
export const AGAIN = { repeats: Math.max(0, Number(process.env.ROUNDS ?? 1) - 1) }
/** The same for loops inside a test. */
export const TIMES = Math.max(1, Number(process.env.ROUNDS ?? 1))
