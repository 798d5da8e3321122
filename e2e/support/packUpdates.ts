import { readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'

export interface Update {
  change: () => void
  /** What a run of these inputs then says. */
  runs: [inputs: Record<string, unknown>, says: RegExp, cls?: string][]
}

/** What an update may do to the files of `changing-pack`, by what it is called. `file` says where they lie. */
export function updatesOf(file: (...path: string[]) => string) {
  const edit = (name: string, change: (text: string) => string): void => writeFileSync(file(name), change(readFileSync(file(name), 'utf8')))
  const nodes = (change: (text: string) => string) => (): void => edit('nodes.py', change)
  const UPDATES: Record<string, Update> = {
    'a class is added': {
      change: nodes((text) => text.replace('NODE_CLASS_MAPPINGS = {', 'class ChangingNew(ChangingScale):\n    def run(self, value):\n        return (f"new {value}",)\n\n\nNODE_CLASS_MAPPINGS = {"ChangingNew": ChangingNew, ')),
      runs: [[{ value: 3 }, /^first 3$/], [{ value: 4 }, /^new 4$/, 'ChangingNew']],
    },
    'a class is removed': {
      change: nodes((text) => text.replace('"ChangingOther": ChangingOther,', '')),
      runs: [[{ value: 3 }, /^first 3$/], [{ amount: 3 }, /ChangingOther/, 'ChangingOther']],
    },
    'a class is renamed': {
      change: nodes((text) => text.replace('"ChangingOther": ChangingOther', '"ChangingElse": ChangingOther')),
      runs: [[{ value: 3 }, /^first 3$/], [{ amount: 5 }, /^other 5$/, 'ChangingElse'], [{ amount: 3 }, /ChangingOther/, 'ChangingOther']],
    },
    'an optional input is added, with a default of its own': {
      change: nodes((text) => text.replace('{"amount": ("INT", {"default": 1})}', '{"amount": ("INT", {"default": 1})}, "optional": {"strength": ("INT", {"default": 7})}').replace('def run(self, amount)', 'def run(self, amount, strength=7)').replace('f"other {amount}"', 'f"other {amount} {strength}"')),
      runs: [[{ amount: 3, strength: 3 }, /^other 3 3$/, 'ChangingOther'], [{ amount: 3 }, /^other 3 7$/, 'ChangingOther']],
    },
    'a required input is added': {
      change: nodes((text) => text.replace('{"amount": ("INT", {"default": 1})', '{"amount": ("INT", {"default": 1}), "needed": ("INT", {"default": 2})').replace('def run(self, amount)', 'def run(self, amount, needed)').replace('f"other {amount}"', 'f"other {amount} {needed}"')),
      runs: [[{ amount: 3, needed: 4 }, /^other 3 4$/, 'ChangingOther'], [{ amount: 3 }, /[Rr]equired input is missing/, 'ChangingOther']],
    },
    'VALIDATE_INPUTS is dropped': {
      change: nodes((text) => text.replace(/ {4}@classmethod\n {4}def VALIDATE_INPUTS[\s\S]*?below zero"\n\n/, '')),
      runs: [[{ value: -1 }, /^first -1$/]],
    },
    'the web folder is renamed': {
      change: () => {
        renameSync(file('web'), file('js'))
        edit('__init__.py', (text) => text.replace('"web"', '"js"'))
      },
      runs: [[{ value: 3 }, /^first 3$/]],
    },
    'the web folder is gone': {
      change: () => rmSync(file('web'), { recursive: true }),
      runs: [[{ value: 3 }, /^first 3$/]],
    },
    'it has a syntax error': {
      change: nodes((text) => `${text}\nthis is no Python\n`),
      runs: [[{ value: 3 }, /SyntaxError|no node class|does not exist|not found/]],
    },
    'it needs a package that is not there': {
      change: () => {
        writeFileSync(file('requirements.txt'), 'nowhere_to_be_found\n')
        edit('nodes.py', (text) => text.replace('class ChangingScale', 'import nowhere_to_be_found\n\n\nclass ChangingScale'))
      },
      runs: [[{ value: 3 }, /nowhere_to_be_found|no node class|does not exist|not found/]],
    },
    'another result, and back': {
      change: nodes((text) => text.replace('"first {value}"', '"second {value}"')),
      runs: [[{ value: 3 }, /^second 3$/]],
    },
  }
  return { edit, nodes, UPDATES }
}
