import { join } from 'node:path'
import { ROOT } from '../../scripts/devPython.ts'

/** Downloads are shared by tests and runs, so that numpy is fetched once. */
export const SHARED_CACHE = join(ROOT, 'node_modules', '.cache', 'envmanager-tests')
