/** `npm run guide`: the pictures of docs/guide.md, taken anew by the browser tests on the real frontend. */
import { spawnSync } from 'node:child_process'
import { mkdirSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { FRONTENDS, ROOT } from './devPython.ts'

const wanted = [...readFileSync(join(ROOT, 'docs', 'guide.md'), 'utf8').matchAll(/\(pictures\/([\w-]+)\.jpg\)/g)].map(([, name]) => name)
const folder = join(ROOT, 'docs', 'pictures')
rmSync(folder, { recursive: true, force: true })
mkdirSync(folder, { recursive: true })
const args = ['test', `--project=frontend-${FRONTENDS[0]}`, 'story', 'panel', 'care']
const { status } = spawnSync(join(ROOT, 'node_modules', '.bin', 'playwright'), args, { cwd: ROOT, stdio: 'inherit', env: { ...process.env, GUIDE_PICTURES: wanted.join(',') } })
process.exitCode = status ?? 1
