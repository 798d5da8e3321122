import type { ErrorCode } from '../../schemas/errors'

interface Entry {
  /** Exit code of `comfy-env`: 1 failed, 2 bad usage or config, 3 no wheel fits, 130 cancelled. */
  exit: 1 | 2 | 3 | 130
  /** What to do when the place that throws knows nothing better. */
  hint: string
}

const failed = (hint: string): Entry => ({ exit: 1, hint })
const bad = (hint: string): Entry => ({ exit: 2, hint })

/** One entry per code: a code without one does not compile. Pages: `docs/errors/`. */
export const CATALOGUE: Record<ErrorCode, Entry> = {
  BAD_USAGE: bad('`comfy-env --help` lists the commands and their options.'),
  BAD_REQUEST: failed('Restart ComfyUI and reload the page: its parts are of different versions.'),
  INTERNAL: failed('This is a fault of ours: please report it with the log.'),
  UNAUTHORIZED: failed('Open the panel from ComfyUI itself.'),
  FORBIDDEN: failed('Open the panel from ComfyUI itself.'),
  PROTOCOL_VERSION: failed('Restart ComfyUI so that all parts are of one version.'),
  CONNECTION_LOST: failed('Wait for the reconnect, or restart ComfyUI.'),
  PORT_TAKEN: failed('Leave --port out, and a free port is chosen.'),
  CONFIG_SYNTAX: bad('Correct the file at that line.'),
  CONFIG_INVALID: bad('Correct that value.'),
  NOT_OURS: bad('Name a folder that is empty or not there yet, with COMFY_ENV_HOME or --home.'),
  UNKNOWN_PACK: bad('`comfy-env packs` lists the node packs.'),
  PACK_INCOMPLETE: failed('Wait until git has ended. If nothing clones it any more, delete its folder and install it again.'),
  UNKNOWN_ENV: bad('`comfy-env envs` lists the environments.'),
  UNKNOWN_JOB: bad('Reload the panel.'),
  UNKNOWN_WORKER: bad('Reload the panel.'),
  UNKNOWN_NODE_CLASS: failed('Rescan the node pack, then run again.'),
  BAD_REQUIREMENT: bad('Write it as `name`, `name==1.2` or `name>=1.2`.'),
  TEMPLATE_VARIABLE: bad('Use one of the known variables, or give the missing fact with an option.'),
  NO_WHEEL: { exit: 3, hint: 'See the nearest combination for which a wheel exists.' },
  SOURCE_UNREACHABLE: failed('Check the network and the address, then try again.'),
  RATE_LIMITED: failed('Wait until then, or set GITHUB_TOKEN if it is GitHub that asks.'),
  OFFLINE: failed('Switch offline mode off (COMFY_ENV_OFFLINE, or `offline` in settings.toml), then try again.'),
  HOST_NOT_ALLOWED: failed('Only known hosts are used. Name the source yourself with --source if you trust it.'),
  DOWNLOAD_FAILED: failed('Check the network, then try again.'),
  NOT_A_WHEEL: failed('The address answers with something else: tell its publisher, or use another source.'),
  WHEEL_INVALID: failed('Tell its publisher, or use another source. Nothing of it was unpacked.'),
  HASH_MISMATCH: failed('The file is not the one that was promised. Nothing was installed.'),
  UV_MISSING: failed('Install uv into ComfyUI’s Python: `python -m pip install uv`.'),
  UV_FAILED: failed('The log has what uv said.'),
  PYTHON_NOT_FOUND: bad('Name the Python that ComfyUI runs on with --interpreter.'),
  TORCH_PROTECTED: failed('Install the pack into an environment of its own instead.'),
  DISK_FULL: failed('Free some space, or move the environments with COMFY_ENV_HOME. Nothing was changed.'),
  FILE_UNREADABLE: failed('Nothing was written over it. Try again; if it stays so, mend the file or put it aside.'),
  FILE_UNWRITABLE: failed('Make the folder writable, or move it with COMFY_ENV_HOME. Nothing was changed.'),
  VERIFY_FAILED: failed('The old environment stays in use. The log names the file or the import.'),
  ENV_BUSY: failed('Wait for the running job, or cancel it.'),
  ENV_BROKEN: failed('`comfy-env repair ENV` rebuilds it from its lock.'),
  HOST_CHANGED: failed('`comfy-env restore SNAPSHOT --force` puts everything back all the same, and keeps a copy of these files.'),
  CANCELLED: { exit: 130, hint: 'Nothing was changed.' },
  SANDBOX_UNAVAILABLE: failed('Install it (Debian, Ubuntu: `apt install bubblewrap`), or take the pack out of [sandbox] in settings.toml.'),
  WORKER_START_FAILED: failed('The worker’s log has its last lines.'),
  WORKER_DIED: failed('Run again: a new worker starts by itself. The call may have run partly.'),
  WORKER_CRASH_LOOP: failed('Look at the worker’s log, then start it again from the panel.'),
  PACK_IMPORT_FAILED: failed('The log has the traceback.'),
  PACK_CHANGED: failed('Queue the prompt again: the pack has been loaded anew. Where it runs inside ComfyUI too, restart ComfyUI.'),
  NODE_RAISED: failed('The traceback names the place.'),
  NODE_INTERRUPTED: { exit: 130, hint: '' },
  VALUE_NOT_PORTABLE: failed('Pass data, or run both nodes in the same place.'),
  HANDLE_FOREIGN: failed('Run both nodes in the same worker.'),
  HANDLE_GONE: failed('Run again: the node that made it runs once more.'),
  HOST_UNKNOWN: failed('Isolate the pack before ComfyUI starts.'),
  MEMORY_FULL: failed('Free memory, or send smaller batches.'),
  SEGMENT_GONE: failed('Run again.'),
}
