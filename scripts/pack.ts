/** `npm run pack`: the folder and the zip that a user puts into `custom_nodes`, in `release/`. Panel and bridge are built in; Node comes from PyPI. */
import { execFileSync } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, readFileSync, rmSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { ensurePython, ROOT } from './devPython.ts'

const NAME = 'comfyui-envmanager'
const LARGEST = 3_000_000
const FILES = ['__init__.py', 'prestartup_script.py', 'install.py', 'requirements.txt', 'pyproject.toml', 'LICENSE', 'README.md', 'CHANGELOG.md', 'bridge/dist/comfy-env.mjs', 'bridge/dist/main.mjs', 'web/dist/envmanager.js', 'python_shim', 'docs']

/** Equal trees give equal bytes: sorted names, one date. */
const ZIP = `
import pathlib, sys, zipfile
folder, target = pathlib.Path(sys.argv[1]), sys.argv[2]
with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            info = zipfile.ZipInfo(str(path.relative_to(folder.parent).as_posix()), (2020, 1, 1, 0, 0, 0))
            info.compress_type, info.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
            archive.writestr(info, path.read_bytes())
`

const { version } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { version: string }
const declared = /^version = "(.+)"$/m.exec(readFileSync(join(ROOT, 'pyproject.toml'), 'utf8'))?.[1]
if (declared !== version) throw new Error(`pyproject.toml says version ${declared}, package.json ${version}: make them one.`)
if (!readFileSync(join(ROOT, 'CHANGELOG.md'), 'utf8').includes(`## ${version}`)) throw new Error(`CHANGELOG.md has no entry for ${version}.`)

const release = join(ROOT, 'release')
const folder = join(release, NAME)
rmSync(release, { recursive: true, force: true })
mkdirSync(folder, { recursive: true })
for (const file of FILES) {
  if (!existsSync(join(ROOT, file))) throw new Error(`${file} is not there: run "npm run build" first.`)
  cpSync(join(ROOT, file), join(folder, file), { recursive: true, filter: (path) => !/__pycache__|\.pyc$|[/\\]tests([/\\]|$)/.test(path.slice(ROOT.length)) })
}
const zip = join(release, `${NAME}-${version}.zip`)
execFileSync(ensurePython(), ['-c', ZIP, folder, zip])
const bytes = statSync(zip).size
if (bytes > LARGEST) throw new Error(`${zip} has ${bytes} bytes: more than ${LARGEST}.`)
console.error(`${zip}: ${(bytes / 1e6).toFixed(2)} MB`)
