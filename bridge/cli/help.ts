export const HELP = `comfy-env — CUDA wheels, safe installs and isolated node packs for ComfyUI

  comfy-env info                          what this machine is
  comfy-env resolve REQUIREMENT…          find the wheel that fits    [--source URL|FOLDER]… [--no-verify]
  comfy-env why WHEEL…                    read a wheel's name         (- : one a line from standard input)
  comfy-env find [--pack FOLDER]          Python, torch and CUDA for which a pack's wheels all exist
  comfy-env torch VERSION                 what breaks and what stays if torch moves   [--to-cuda 13.0|cpu]
  comfy-env install [--pack FOLDER]       build a node pack's environment   [--env NAME] [--dry-run]
                                          [--sealed best|3.12/2.8.0/12.8]  [--overlay]
                                          [--in-place --yes]  into ComfyUI's own, with a snapshot
  comfy-env snapshots | restore SNAPSHOT  what ComfyUI's own environment can be put back to
                                          [--force]  also what others have changed since
  comfy-env init [FOLDER]                 write a commented config for a node pack   [--dir FOLDER]
  comfy-env packs                         node packs and their state
  comfy-env envs                          environments and their size
  comfy-env undo ENV                      back to its state before the last install
  comfy-env repair ENV                    build it again from its lock
  comfy-env export ENV [FILE]             its lock, a pylock.toml
  comfy-env import FILE                   build the environment of a lock
  comfy-env cleanup [--delete]            what may go without loss
  comfy-env doctor                        check the machine and every environment
  comfy-env home                          where environments and downloads lie; makes that folder
  comfy-env logs [JOB | bridge]           the jobs, one job's log, or what the bridge did
  comfy-env serve                         run the bridge              [--port N] [--parent]

Every command takes
  --json                 one JSON object on standard output, nothing else there
  --comfyui FOLDER       the ComfyUI to work for
  --interpreter PATH     the Python that ComfyUI runs on
  --home FOLDER          where environments, jobs and the cache lie
  --offline              ask nothing of the network
  --help, --version      this text, or the version, and nothing else
and, to plan for another machine than this one,
  --python 3.12  --torch 2.8.0  --cuda 12.8  --platform win_amd64  --gpu sm_120  --driver 570.26  --cxx11abi true

Exit codes: 0 done, 1 failed, 2 bad usage or bad config, 3 no wheel fits, 130 cancelled.`
