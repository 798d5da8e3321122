/** The same nodes with isolation off and on: what the browser and later nodes get is equal. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { FRONTENDS } from '../../scripts/devPython.ts'
import { type Comfy, startComfy } from '../support/comfy.ts'
import { PanelClient } from '../support/panelClient.ts'
import { type Outcome, type Prompt, run } from '../support/prompts.ts'

/** One pack runs where it is told to, the other (`Here`) in ComfyUI. */
const nodes = (prefix: string): string => `
import collections, collections.abc, enum, math, os, types
import folder_paths
import numpy
import torch
from comfy_execution.graph_utils import ExecutionBlocker, GraphBuilder

class Row(list): pass
class Pair(tuple): pass
class Table(dict): pass
class Text(str): pass
class Number(int): pass
class Blocker(ExecutionBlocker): pass
class Own:
    def __init__(self, *items): self.items = items
    def __len__(self): return len(self.items)
    def __getitem__(self, index): return self.items[index]
class Walk(Own):
    def __iter__(self): raise RuntimeError("asked")
class Longer(Own):
    def __len__(self): return 3

def fails():
    yield 1
    raise ValueError("on the way")

SHAPES = {
    "tuple": lambda: (1, "b"), "list": lambda: [1, "b"], "a list of a pack": lambda: Row([1, "b"]), "a tuple of a pack": lambda: Pair((1, "b")),
    "a named tuple": lambda: collections.namedtuple("Two", "a b")(1, "b"), "an own sequence": lambda: Own(1, "b"), "one that cannot be walked": lambda: Walk(1, "b"),
    "too long": lambda: Longer(1, "b"), "a deque": lambda: collections.deque([1, "b"]), "text": lambda: "ab", "text of a pack": lambda: Text("ab"), "bytes": lambda: b"ab",
    "a tensor": lambda: torch.ones(2, 2), "an array": lambda: numpy.ones((2, 2)), "None": lambda: None, "a number": lambda: 5, "a generator": lambda: (n for n in (1, 2)),
    "keys": lambda: {1: 1}.keys(), "a set": lambda: {1, 2}, "a mapping": lambda: types.MappingProxyType({0: 1, 1: "b"}), "an object": lambda: object(),
    "result": lambda: {"result": (1, "b")}, "a dict of a pack": lambda: Table(result=Row([1, "b"]), ui=Table(text=Row(["shown"]))), "an ordered one": lambda: collections.OrderedDict(result=[1, "b"], ui={}),
    "a generator shown": lambda: {"result": (1, "b"), "ui": {"text": (str(n) for n in range(3))}}, "keys shown": lambda: {"result": (1, "b"), "ui": {"text": {"x": 1}.keys()}},
    "shown by a mapping": lambda: {"result": (1, "b"), "ui": types.MappingProxyType({"text": ("y",)})}, "more in it": lambda: {"result": (1, "b"), "ui": {"text": ["z"]}, "more": (n for n in ())},
    "only shown": lambda: {"ui": {"text": ["z"]}}, "nothing shown": lambda: {"ui": None, "result": (1, "b")}, "an empty dict": lambda: {},
    "a default": lambda: collections.defaultdict(tuple, {"ui": {"text": ["z"]}}), "result is None": lambda: {"result": None},
    "a blocker": lambda: ExecutionBlocker(None), "a blocker of a pack": lambda: Blocker(None), "blocked in a pair": lambda: (1, Blocker(None)),
}
LISTS = {
    "list": lambda: [1, 2], "a list of a pack": lambda: Row([1, 2]), "a generator": lambda: (n for n in (1, 2)), "keys": lambda: {1: 1, 2: 2}.keys(), "values": lambda: {1: 1, 2: 2}.values(),
    "a dict": lambda: {1: fails(), 2: 2}, "a set": lambda: {1}, "range": lambda: range(2), "text": lambda: "ab", "map": lambda: map(str, (1, 2)), "a deque": lambda: collections.deque([1, 2]),
    "own": lambda: Own(1, 2), "a tensor": lambda: torch.ones(2, 2), "an array": lambda: numpy.ones(2), "fails": fails, "a number": lambda: 5, "None": lambda: None,
    "a blocker in it": lambda: [1, Blocker(None)], "a blocker": lambda: Blocker(None), "lists of lists": lambda: Row([[1], [2]]),
}

def node(**more):
    def made(function):
        names = [name for name in function.__code__.co_varnames[1:function.__code__.co_argcount]]
        inputs = {"required": {name: ("*", {}) for name in names}}
        body = {"INPUT_TYPES": classmethod(lambda cls: inputs), "VALIDATE_INPUTS": classmethod(lambda cls, input_types: True), "RETURN_TYPES": ("*", "*"),
                "FUNCTION": "run", "CATEGORY": "tests", "OUTPUT_NODE": True, "run": function, **more}
        return type(function.__name__, (), body)
    return made

@node()
def Shape(self, what, turn): return SHAPES[what]()

@node()
def ShapeAsync(self, what, turn): pass
async def later(self, what, turn): return SHAPES[what]()
ShapeAsync.run = later

@node(OUTPUT_IS_LIST=(True, False))
def Listed(self, what, turn): return (LISTS[what](), "b")

@node(OUTPUT_IS_LIST=(True, False))
def ListedShown(self, what, turn): return Table(ui={"text": ["x"]}, result=Row([LISTS[what](), "b"]))

@node()
def Expands(self, what, turn):
    graph = GraphBuilder()
    made = graph.node("Shape", what="tuple", turn=turn)
    graph.node("Shape", what=made.out(0), turn=turn) if what == "linked" else None
    built, link = graph.finalize(), made.out(0)
    result = (link, 3)
    if what == "dicts of a pack":
        built = Table({name: Table({**info, "inputs": Table(info["inputs"])}) for name, info in built.items()})
    if what == "mappings":
        built = {name: Table({**info, "inputs": types.MappingProxyType(info["inputs"])}) for name, info in built.items()}
    if what == "text of a pack":
        built = {Text(name): {"class_type": Text(info["class_type"]), "inputs": info["inputs"]} for name, info in built.items()}
    if what == "links of a pack":
        result = Row([Row([Text(link[0]), Number(link[1])]), 3])
    if what == "a blocker":
        result = Blocker(None)
    if what == "no graph":
        built, result = None, (1, 2)
    return Table(result=result, expand=built)

def tensor(what):
    with torch.inference_mode("normal" not in what):
        made = torch.nn.Parameter(torch.ones(2), requires_grad=False) if "parameter" in what else torch.ones(4, 2)
        return made[1:].t() if "view" in what else made

@node()
def Tensor(self, what, turn): return (tensor(what), [{"in": tensor(what)}])

@node()
def TensorMode(self, value, turn):
    value = value[0]["in"] if isinstance(value, list) else value
    said = [value.is_inference(), torch.is_inference_mode_enabled(), torch.ones(1).is_inference()]
    with torch.inference_mode(False):
        for change in (lambda: value.add_(1), lambda: (torch.ones(1, requires_grad=True) * value).sum().backward(), lambda: value.clone().add_(1)):
            try:
                change()
                said.append("done")
            except RuntimeError as error:
                said.append(str(error)[:60])
    return {"ui": {"text": [str(said)]}, "result": (value, value)}

class Kind(Text, enum.Enum):
    A, B = "a", "b"
class Level(enum.IntEnum):
    A, B = 1, 2
class Sums(float): pass
class Data(bytes): pass
class Own2(collections.abc.Sequence):
    def __init__(self, items): self.items = items
    def __len__(self): return len(self.items)
    def __getitem__(self, index): return self.items[index]
class Never(str):
    def __eq__(self, other): return False
    __hash__ = str.__hash__

ANSWERS = {
    "text": lambda n: "ab"[n], "text of a pack": lambda n: Text("ab"[n]), "an enum of text": lambda n: list(Kind)[n], "an enum of numbers": lambda n: list(Level)[n], "a number of a pack": lambda n: Number(n),
    "a float of a pack": lambda n: Sums(n), "bytes of a pack": lambda n: Data(bytes([n])), "a list of a pack": lambda n: Row([Text("a"), n]), "a dict of a pack": lambda n: Table(a=Row([n])), "in a list": lambda n: [Kind.A, [Level.B, (Text("x"), n)]],
    "a mapping": lambda n: types.MappingProxyType({"a": n}), "an own sequence": lambda n: Own2([n]), "a user list": lambda n: collections.UserList([n]), "a named tuple": lambda n: collections.namedtuple("One", "a")(n),
    "a deque": lambda n: collections.deque([n]), "a numpy float": lambda n: numpy.float64(n), "a numpy int": lambda n: numpy.int64(n), "a set": lambda n: {n}, "a set of a pack": lambda n: type("Some", (set,), {})([n]), "NaN": lambda n: float("nan"), "the NaN of math": lambda n: math.nan, "the NaN of numpy": lambda n: numpy.nan, "None": lambda n: None,
    "an object": lambda n: object(), "a plain enum": lambda n: enum.Enum("Plain", "A B").A, "an object in a list": lambda n: [object()], "a class": lambda n: Row, "a tensor": lambda n: torch.ones(1), "a generator": lambda n: (i for i in ()), "never equal": lambda n: Never("x"), "a date": lambda n: __import__("datetime").date(2000, 1, 1 + n),
}

runs = {}
@node(RETURN_TYPES=("*",), IS_CHANGED=classmethod(lambda cls, what, turn: ANSWERS[what](int(open(os.path.join(folder_paths.get_input_directory(), "changed")).read()))))
def Changed(self, what, turn):
    runs[what, turn] = runs.get((what, turn), 0) + 1
    return {"ui": {"text": [runs[what, turn]]}, "result": (1,)}

@node()
def SeesPrompt(self, value, turn): return (value, value)
SeesPrompt.INPUT_TYPES = classmethod(lambda cls: {"required": {"value": ("*", {}), "turn": ("*", {})}, "hidden": {"prompt": "PROMPT"}})
SeesPrompt.run = lambda self, value, turn, prompt: {"ui": {"text": [str("is_changed" in prompt["1"])]}, "result": (value, value)}

NAMES = {
    "a list": lambda: ["a"], "a list of a pack": lambda: Row(["a"]), "text of a pack": lambda: [Text("b")], "an enum": lambda: [enum.Enum("Names", {"A": "a"}, type=str).A], "a tuple": lambda: ("a",), "an own sequence": lambda: Own2(["a"]),
    "keys": lambda: {"b": 1}.keys(), "None": lambda: None, "an object in it": lambda: ["a", object()], "an object": lambda: object(),
}
@node()
def Lazy(self, what, turn, a=None, b=None): return (str(a), str(b))
Lazy.INPUT_TYPES = classmethod(lambda cls: {"required": {"what": ("*", {}), "turn": ("*", {}), "a": ("*", {"lazy": True}), "b": ("*", {"lazy": True})}})
Lazy.check_lazy_status = lambda self, what, turn, a=None, b=None: [] if a or b else NAMES[what]()

CHECKS = {"True": lambda: True, "False": lambda: False, "text": lambda: "no", "text of a pack": lambda: Text("no"), "an enum": lambda: Kind.A, "1": lambda: 1, "numpy's": lambda: numpy.True_, "None": lambda: None, "an object": lambda: object(), "a list": lambda: Row(["no"])}
@node(VALIDATE_INPUTS=classmethod(lambda cls, what: CHECKS[what]()))
def Checked(self, what, turn): return (1, 2)

NODE_CLASS_MAPPINGS = {"${prefix}" + cls.__name__: cls for cls in (Shape, ShapeAsync, Listed, ListedShown, Expands, Tensor, TensorMode, Changed, SeesPrompt, Lazy, Checked)}

try:
    from comfy_api.latest import io, ui
except ImportError:
    io = None

if io is not None:
    class Output(io.NodeOutput):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            self.more = (n for n in ())

    class Newest(io.NodeOutput):
        result = property(lambda self: Row(["other", "c"]))

    def expanded(kind):
        graph = GraphBuilder()
        made = graph.node("Shape", what="tuple", turn=3)
        return kind(Row(made.out(0)), 3, expand=Table(graph.finalize()))

    OUTPUTS = {
        "plain": lambda: io.NodeOutput(1, "b", ui={"text": ("x",)}), "of a pack": lambda: Output(1, "b", ui=Table(text=Row(["x"]))), "overridden": lambda: Newest(1, "b"),
        "a generator": lambda: io.NodeOutput(1, "b", ui={"text": (str(n) for n in range(2))}), "an object that shows": lambda: io.NodeOutput(1, "b", ui=ui.PreviewText("said")),
        "blocked": lambda: Output(1, "b", block_execution="no"), "blocked without values": lambda: Output(block_execution="no"), "nothing": lambda: Output(), "a tuple of a pack": lambda: Pair((1, "b")),
        "a dict of a pack": lambda: Table(result=Row([1, "b"])), "a list": lambda: [1, "b"], "a blocker of a pack": lambda: Blocker("no"), "expands": lambda: expanded(io.NodeOutput), "expands as a pack does": lambda: expanded(Output),
    }

    class Newer(io.ComfyNode):
        @classmethod
        def define_schema(cls):
            return io.Schema(node_id="${prefix}Newer", category="tests", inputs=[io.String.Input("what"), io.Int.Input("turn")], outputs=[io.AnyType.Output(), io.AnyType.Output()], is_output_node=True, enable_expand=True)
        @classmethod
        def execute(cls, what, turn):
            return OUTPUTS[what]()

    NODE_CLASS_MAPPINGS["${prefix}Newer"] = Newer
`

const named = (table: string): string[] => [...(nodes('').match(new RegExp(`^ *${table} = {(.*?)}$`, 'ms'))?.[1] ?? '').matchAll(/"([^"]+)": (?:lambda(?: n)?:|fails)/g)].map(([, name]) => name ?? '')
const EXPANSIONS = ['plain', 'dicts of a pack', 'mappings', 'text of a pack', 'links of a pack', 'a blocker', 'no graph']

const TENSORS = ['plain', 'normal', 'parameter', 'normal parameter', 'view', 'normal view']
/** A tensor on its way between nodes that run wherever they do. */
const tensors = (what: string, from: string, to: string, turn: number): Prompt => ({
  '1': { class_type: `${from}Tensor`, inputs: { what, turn } },
  '2': { class_type: `${to}TensorMode`, inputs: { value: ['1', 0], turn } },
  '3': { class_type: `${to}TensorMode`, inputs: { value: ['1', 1], turn } },
  '4': { class_type: `${from}TensorMode`, inputs: { value: ['2', 0], turn } },
})

/** A node that asks for one of two others. */
const lazy = (what: string, turn: number): Prompt => ({ ...shown('Lazy', { what, turn, a: ['4', 0], b: ['4', 1] }), '4': { class_type: 'HereShape', inputs: { what: 'tuple', turn } } })

/** A node, and what another one of ComfyUI finds at its outputs. */
const shown = (class_type: string, inputs: Record<string, unknown>): Prompt => ({
  '1': { class_type, inputs },
  '2': { class_type: 'ValueShow', inputs: { value: ['1', 0] } },
  '3': { class_type: 'ValueShow', inputs: { value: ['1', 1] } },
})
const CASES: [string, (turn: number) => Prompt][] = [
  ...['Shape', 'ShapeAsync'].flatMap((kind) => named('SHAPES').map((what): [string, (turn: number) => Prompt] => [`${kind}: ${what}`, (turn) => shown(kind, { what, turn })])),
  ...['Listed', 'ListedShown'].flatMap((kind) => named('LISTS').map((what): [string, (turn: number) => Prompt] => [`${kind}: ${what}`, (turn) => shown(kind, { what, turn })])),
  ...(process.env.COMFYUI_DIR ? named('OUTPUTS').map((what): [string, (turn: number) => Prompt] => [`Newer: ${what}`, (turn) => shown('Newer', { what, turn })]) : []),
  ...[['', ''], ['', 'Here'], ['Here', '']].flatMap(([from = '', to = '']) => TENSORS.map((what): [string, (turn: number) => Prompt] => [`tensor ${from}-${to}: ${what}`, (turn) => tensors(what, from, to, turn)])),
  ...named('NAMES').map((what): [string, (turn: number) => Prompt] => [`lazy: ${what}`, (turn) => lazy(what, turn)]),
  ...named('CHECKS').map((what): [string, (turn: number) => Prompt] => [`check: ${what}`, (turn) => shown('Checked', { what, turn })]),
  ...EXPANSIONS.map((what): [string, (turn: number) => Prompt] => [`Expands: ${what}`, (turn) => shown('Expands', { what, turn })]),
]

const ANSWERS = named('ANSWERS')

let work: string
let comfy: Comfy
let panel: PanelClient
const inside: Record<string, unknown> = {}

/** What is to be equal. The browser is told of objects by their address. */
const told = ({ status, outputs, error }: Outcome): unknown =>
  JSON.parse(JSON.stringify({ status, outputs, error: error.exception_message?.trim(), kind: error.exception_type }).replaceAll(/0x[0-9a-f]+/g, 'somewhere'))

/** What a prompt gives, or why it is refused. */
const said = (prompt: Prompt): Promise<unknown> => run(comfy.url, prompt).then(told, (error: Error) => error.message.replaceAll(/0x[0-9a-f]+/g, 'somewhere'))

beforeAll(async () => {
  work = mkdtempSync(join(tmpdir(), 'envmanager-inside-'))
  for (const [pack, prefix] of [['as-inside', ''], ['inside-here', 'Here']] as const) {
    mkdirSync(join(work, pack))
    writeFileSync(join(work, pack, '__init__.py'), nodes(prefix))
  }
  comfy = await startComfy({ frontend: FRONTENDS[0], packs: [join(work, 'as-inside'), join(work, 'inside-here'), 'value-host'] })
  panel = await PanelClient.connect(comfy.url)
  await panel.until(({ packs }) => packs.some(({ id, state }) => id === 'as-inside' && state === 'ready'), 'the pack')
  for (const [name, prompt] of CASES) inside[name] = await said(prompt(1))
  for (const what of ANSWERS) inside[`IS_CHANGED: ${what}`] = await decisions(what, 1)
  await panel.call('isolation.set', { pack: 'as-inside', on: true })
}, 120_000)

afterAll(async () => {
  panel.close()
  await comfy.stop()
  comfy.remove()
  rmSync(work, { recursive: true })
})

/** How often a node has run, after each of five prompts: what it asks for changes at the third, and back at the fifth. */
async function decisions(what: string, turn: number): Promise<unknown[]> {
  const all: unknown[] = []
  for (const number of [0, 0, 1, 1, 0]) {
    writeFileSync(join(comfy.base, 'input', 'changed'), String(number))
    const { outputs, error } = await run(comfy.url, { '1': { class_type: 'Changed', inputs: { what, turn } }, '2': { class_type: 'SeesPrompt', inputs: { value: ['1', 0], turn } }, '3': { class_type: 'HereSeesPrompt', inputs: { value: ['2', 0], turn } } })
    all.push([outputs['1']?.text, outputs['2']?.text, outputs['3']?.text, error.exception_type])
  }
  return all
}

test.each(ANSWERS)('IS_CHANGED that answers %s decides the same', async (what) => {
  expect(await decisions(what, 2)).toEqual(inside[`IS_CHANGED: ${what}`])
})

test.each(CASES)('%s', async (name, prompt) => {
  expect(await said(prompt(2))).toEqual(inside[name])
})
