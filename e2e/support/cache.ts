import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** Downloads are shared by the tests of a run, so that numpy is fetched once. */
export const SHARED_CACHE = join(tmpdir(), `envmanager-test-cache-${process.getuid?.() ?? 0}`)
