/** What a pack's own classes, previews and exceptions may do when they are looked at: the call fails with a text at most, and ComfyUI goes on. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { FRONTENDS } from '../../scripts/devPython.ts'
import { type Comfy, startComfy } from '../support/comfy.ts'
import { PanelClient } from '../support/panelClient.ts'
import { type Outcome, run } from '../support/prompts.ts'

/** The same nodes in two packs: `There` runs in its worker, `Here` in ComfyUI. */
const nodes = (prefix: string): string => `
import comfy.utils
import torch
from PIL import Image

def node(function):
    names = function.__code__.co_varnames[1:function.__code__.co_argcount]
    inputs = classmethod(lambda cls: {"required": {name: ("*",) for name in names}})
    body = {"INPUT_TYPES": inputs, "VALIDATE_INPUTS": classmethod(lambda cls, input_types: True), "RETURN_TYPES": ("*",),
            "FUNCTION": "run", "CATEGORY": "tests", "OUTPUT_NODE": True, "run": function}
    return type(function.__name__, (), body)

def no(*args, **kwargs):
    raise RuntimeError("asked")

class Meta(type):
    __hash__ = None
    def __eq__(cls, other): raise RuntimeError("asked")
    def __getattribute__(cls, name): raise RuntimeError("asked")
    def __instancecheck__(cls, other): raise RuntimeError("asked")
    def __repr__(cls): raise RuntimeError("asked")

class Behind(metaclass=Meta):
    pass

def made(what):
    """An object of a class that has only one thing of its own."""
    if what == "metaclass":
        return Behind()
    if what == "dict" or what == "list":
        kind = {"dict": dict, "list": list}[what]
        return type("Odd", (kind,), {"__iter__": no, "__len__": no, "__eq__": no, "__reduce_ex__": no, "items": no, "keys": no, "values": no})()
    if what == "tensor":
        kind = type("Odd", (torch.Tensor,), {"__torch_function__": classmethod(no), "__eq__": no, "__bool__": no})
        return torch.Tensor._make_subclass(kind, torch.ones(2))
    if what == "str":
        return type("Odd", (str,), {"__eq__": no, "__hash__": None, "encode": no, "__str__": no, "__len__": no})("x")
    if what == "__module__":
        return type("Odd", (), {"__module__": None})()
    if what == "__name__":
        kind = type("Odd", (), {})
        kind.__name__ = kind.__qualname__ = "Odd\\n\\x1b[2J"
        return kind()
    if what == "__dict__":
        return type("Odd", (), {"__slots__": (), "__dict__": property(no)})()
    own = property(no) if what in ("__class__", "__array_interface__", "__cuda_array_interface__", "data_ptr", "dtype", "shape") else no
    return type("Odd", (), {what: own})()

@node
def Make(self, what, deep):
    return ([{"in": made(what)}] if deep else made(what),)

@node
def Take(self, value, deep):
    value = value[0]["in"] if deep else value
    return {"ui": {"text": [type.__dict__["__name__"].__get__(type(value))]}, "result": (1,)}

@node
def Preview(self, what):
    picture = Image.new("RGB", (64, 64))
    previews = {
        "no such format": ("NOPE", picture, 64), "no format": (None, picture, 64), "a number as format": (7, picture, 64),
        "a mode that JPEG has not": ("JPEG", Image.new("RGBA", (64, 64)), 64), "palette": ("JPEG", Image.new("P", (64, 64)), 64),
        "float": ("PNG", Image.new("F", (64, 64)), 64), "LAB": ("PNG", Image.new("LAB", (64, 64)), 64), "no pixels": ("JPEG", Image.new("RGB", (0, 64)), 64),
        "a size of 0": ("JPEG", picture, 0), "a negative size": ("JPEG", picture, -5), "a size in words": ("JPEG", picture, "big"),
        "half a size": ("JPEG", picture, 1.5), "no size": ("JPEG", picture, None), "no picture": ("JPEG", None, 64), "a text": "preview",
        "two parts": ("JPEG", picture), "four parts": ("JPEG", picture, 64, 1), "an object": made("__class__"), "a tensor": ("JPEG", torch.ones(4, 4, 3), 64),
        "a hostile part": ("JPEG", made("__eq__"), made("__bool__")),
        "a long line": ("JPEG", Image.new("RGB", (70000, 1)), 70000), "a very thin one": ("JPEG", Image.new("RGB", (5000, 1)), 64),
    }
    bar = comfy.utils.ProgressBar(2)
    try:
        bar.update_absolute(1, 2, previews[what])
        said = "went on"
    except Exception as error:
        said = f"heard of {type(error).__name__}"
    bar.update_absolute(2, 2, ("JPEG", picture, 64))
    return {"ui": {"text": [said]}}

class Says(Exception):
    pass

def raised(what):
    if what == "surrogates":
        return ValueError("a \\ud800 b \\udfff")
    if what == "controls":
        return ValueError("a \\0 \\x1b[2J b")
    if what == "an argument that cannot be pickled":
        return ValueError(lambda: 1, Behind, made("__repr__"))
    if what == "long":
        return ValueError("x" * 3_000_000)
    if what == "a loop of causes":
        first, second = ValueError("first"), ValueError("second")
        first.__cause__, second.__cause__ = second, first
        return first
    if what == "a hostile metaclass":
        class Kind(type(Exception)):
            def __getattribute__(cls, name): raise RuntimeError("asked")
        return Kind("Odd", (Exception,), {})("told")
    if what == "a file name of lone surrogates":
        scope = {}
        exec(compile("def fail():\\n    raise ValueError('there')", "\\ud800.py", "exec"), scope)
        try:
            scope["fail"]()
        except ValueError as error:
            return error
    if what == "a group":
        return ExceptionGroup("some \\ud800", [ValueError("a"), made_error("__str__")])
    return made_error(what)

def made_error(what):
    own = property(no) if what in ("__cause__", "__context__", "args", "__traceback__", "__class__") else None if what in ("__module__", "__notes__") else no
    return type("Odd", (Says,), {what: own})("told")

@node
def Raise(self, what):
    raise raised(what)

NODE_CLASS_MAPPINGS = {"${prefix}" + name: value for name, value in list(globals().items()) if isinstance(value, type) and type(value) is type and hasattr(value, "FUNCTION")}
`

let work: string
let comfy: Comfy
let panel: PanelClient
let turn = 0

beforeAll(async () => {
  work = mkdtempSync(join(tmpdir(), 'envmanager-hostile-'))
  for (const [pack, prefix] of [['hostile-there', 'There'], ['hostile-here', 'Here']] as const) {
    mkdirSync(join(work, pack))
    writeFileSync(join(work, pack, '__init__.py'), nodes(prefix))
  }
  comfy = await startComfy({ frontend: FRONTENDS[0], packs: [join(work, 'hostile-there'), join(work, 'hostile-here')] })
  panel = await PanelClient.connect(comfy.url)
  await panel.until(({ packs }) => packs.some(({ id, state }) => id === 'hostile-there' && state === 'ready'), 'the pack')
  await panel.call('isolation.set', { pack: 'hostile-there', on: true })
})

afterAll(async () => {
  panel.close()
  await comfy.stop()
  comfy.remove()
  rmSync(work, { recursive: true })
})

const one = (class_type: string, inputs: Record<string, unknown>): Promise<Outcome> => run(comfy.url, { '1': { class_type, inputs } })
const chain = (from: string, to: string, what: string, deep: boolean): Promise<Outcome> =>
  run(comfy.url, { '1': { class_type: `${from}Make`, inputs: { what, deep } }, '2': { class_type: `${to}Take`, inputs: { value: ['1', 0], deep } } })
const said = ({ outputs, error }: Outcome, node = '1'): string => String(outputs[node]?.text?.[0] ?? `${error.exception_type}: ${error.exception_message}`)
const pid = async (): Promise<number | null | undefined> => (await panel.snapshot()).workers.find(({ packs }) => packs.includes('hostile-there'))?.pid

/** After whatever it was: ComfyUI runs prompts, the same worker answers, and a preview and an event come through. */
async function goesOn(worker: number | null | undefined): Promise<void> {
  expect(said(await one('ThereTake', { value: ++turn, deep: false }))).toBe('int')
  expect(said(await one('HereTake', { value: ++turn, deep: false }))).toBe('int')
  expect(await pid()).toBe(worker)
}

// a tensor that says nothing ends a real ComfyUI's thread by itself, when that counts what its cache takes
const ODD = ['__module__', '__name__', '__class__', '__reduce_ex__', '__reduce__', '__eq__', '__bool__', '__repr__', '__str__', '__len__', '__hash__', '__iter__', '__getattr__', '__getattribute__', '__dict__', '__del__', '__array__', '__array_interface__', '__cuda_array_interface__', '__torch_function__', 'data_ptr', 'dtype', 'shape', 'metaclass', 'dict', 'list', 'str', ...(process.env.COMFYUI_DIR ? [] : ['tensor'])]

test.each(ODD)('a value with a strange %s crosses as what stays in its worker, or is refused by name', async (what) => {
  await one('ThereTake', { value: ++turn, deep: false })
  const worker = await pid()
  for (const deep of [false, true]) {
    const inside = said(await chain('Here', 'Here', what, deep), '2')
    expect(inside).toMatch(/^(Odd|Behind|\w+Error: )/) // ComfyUI itself asks what it gives to a node
    expect(said(await chain('There', 'There', what, deep), '2')).toMatch(/^(Odd|Behind)/)
    expect(said(await chain('There', 'Here', what, deep), '2')).toBe('RemoteHandle')
    const refused = /^\w+Error: /.test(inside) ? /^\w+Error: (asked|unhashable)/ : /the input of ThereTake \(node 2\)\['value'\].* is an? .*(Odd|Behind)/s
    expect(said(await chain('Here', 'There', what, deep), '2')).toMatch(refused)
  }
  await goesOn(worker)
})

const PREVIEWS = ['no such format', 'no format', 'a number as format', 'a mode that JPEG has not', 'palette', 'float', 'LAB', 'no pixels', 'a size of 0', 'a negative size', 'a size in words', 'half a size', 'no size', 'no picture', 'a text', 'two parts', 'four parts', 'an object', 'a tensor', 'a hostile part', 'a long line', 'a very thin one']

test.each(PREVIEWS)('a preview with %s: the node goes on, and so does ComfyUI', async (what) => {
  await one('ThereTake', { value: ++turn, deep: false })
  const worker = await pid()
  expect(said(await one('TherePreview', { what }))).toMatch(/^went on$|^heard of \w+$/)
  await goesOn(worker)
})

const ERRORS = ['__str__', '__repr__', '__module__', '__notes__', '__cause__', '__context__', '__traceback__', '__class__', 'args', '__reduce_ex__', '__getattribute__', '__eq__', '__hash__', '__bool__', 'surrogates', 'controls', 'an argument that cannot be pickled', 'long', 'a loop of causes', 'a hostile metaclass', 'a file name of lone surrogates', 'a group']

test.each(ERRORS)('an exception with a strange %s: the call fails with a text', async (what) => {
  await one('ThereTake', { value: ++turn, deep: false })
  const worker = await pid()
  const { end, error } = await one('ThereRaise', { what })
  expect(end).toBe('execution_error')
  expect(String(error.exception_message).length).toBeGreaterThan(1)
  expect(String(error.exception_message).length).toBeLessThan(20_000)
  expect(JSON.stringify(error).isWellFormed()).toBe(true)
  await goesOn(worker)
})
