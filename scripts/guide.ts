/** `npm run guide`: the pictures of docs/guide.md, taken anew by the browser tests: on the real frontend, and on the scripted bridge where it would show this computer. */
import { spawnSync } from 'node:child_process'
import { mkdirSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { FRONTENDS, ROOT } from './devPython.ts'

const wanted = [...readFileSync(join(ROOT, 'docs', 'guide.md'), 'utf8').matchAll(/\(pictures\/([\w-]+)\.jpg\)/g)].map(([, name]) => name)
const folder = join(ROOT, 'docs', 'pictures')
rmSync(folder, { recursive: true, force: true })
mkdirSync(folder, { recursive: true })
const args = ['test', '--project=scenes', `--project=frontend-${FRONTENDS[0]}`, 'scenes', 'story', 'panel']
const { status } = spawnSync(join(ROOT, 'node_modules', '.bin', 'playwright'), args, { cwd: ROOT, stdio: 'inherit', env: { ...process.env, GUIDE_PICTURES: wanted.join(',') } })
process.exitCode = status ?? 1
