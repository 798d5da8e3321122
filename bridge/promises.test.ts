import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import ts from 'typescript'
import { expect, test } from 'vitest'

// What nobody awaits fails unseen, or ends the bridge. `oxlint` has no rule for it without a type checker of its own, so this is one.

const calledAs = (node: ts.Node, name: string): ts.CallExpression | null =>
  ts.isCallExpression(node) && ts.isPropertyAccessExpression(node.expression) && node.expression.name.text === name ? node : null

/** `() => undefined`, or nothing at all. */
function isEmpty(handler: ts.Expression | undefined): boolean {
  if (!handler) return true
  if (!ts.isArrowFunction(handler)) return false
  const { body } = handler
  return ts.isBlock(body) ? body.statements.length === 0 : ts.isIdentifier(body) && body.text === 'undefined'
}

/** Whether whatever a promise rejects with is dealt with. */
function isHandled(node: ts.Expression): boolean {
  const end = calledAs(node, 'finally')
  if (end) return isHandled((end.expression as ts.PropertyAccessExpression).expression)
  return !isEmpty(calledAs(node, 'catch')?.arguments[0]) || !isEmpty(calledAs(node, 'then')?.arguments[1])
}

function isPromise(checker: ts.TypeChecker, node: ts.Expression): boolean {
  const type = checker.getTypeAtLocation(node)
  return (type.isUnion() ? type.types : [type]).some((part) => part.getProperty('then') !== undefined)
}

/** A function that is called for nothing that it returns, and returns a promise. */
function isLostCallback(checker: ts.TypeChecker, node: ts.Node): boolean {
  if (!ts.isArrowFunction(node) && !ts.isFunctionExpression(node)) return false
  if (!ts.isCallExpression(node.parent) || !node.parent.arguments.includes(node)) return false
  const returns = (type: ts.Type): ts.Type[] => type.getCallSignatures().map((signature) => signature.getReturnType())
  const wanted = checker.getContextualType(node)
  const wantsNothing = wanted !== undefined && returns(wanted).length > 0 && returns(wanted).every((type) => (type.flags & ts.TypeFlags.Void) !== 0)
  return wantsNothing && returns(checker.getTypeAtLocation(node)).some((type) => type.getProperty('then') !== undefined)
}

function floating(checker: ts.TypeChecker, node: ts.Node): boolean {
  if (isLostCallback(checker, node)) return true
  if (ts.isVoidExpression(node)) return isPromise(checker, node.expression)
  if (!ts.isExpressionStatement(node)) return false
  const { expression } = node
  const isKept = ts.isBinaryExpression(expression) && expression.operatorToken.kind >= ts.SyntaxKind.FirstAssignment && expression.operatorToken.kind <= ts.SyntaxKind.LastAssignment
  return !isKept && !ts.isVoidExpression(expression) && isPromise(checker, expression) && !isHandled(expression)
}

function findings(files: string[], host?: ts.CompilerHost): string[] {
  const options: ts.CompilerOptions = { target: ts.ScriptTarget.ES2023, module: ts.ModuleKind.ESNext, moduleResolution: ts.ModuleResolutionKind.Bundler, lib: ['lib.es2024.d.ts', 'lib.dom.d.ts'], types: ['node'], strict: true, skipLibCheck: true, noEmit: true, allowImportingTsExtensions: true }
  const program = ts.createProgram(files, options, host)
  const checker = program.getTypeChecker()
  return files.flatMap((path) => {
    const source = program.getSourceFile(path)
    if (!source) throw new Error(`${path} is not there`)
    const found: string[] = []
    const visit = (node: ts.Node): void => {
      if (floating(checker, node)) found.push(`${path}:${source.getLineAndCharacterOfPosition(node.getStart()).line + 1} ${node.getText().slice(0, 100)}`)
      ts.forEachChild(node, visit)
    }
    visit(source)
    return found
  })
}

/** The two places through which work goes that nobody awaits. */
const DOORS = /bridge[/\\](serve[/\\]background|quietly)\.ts$/

test('whatever nobody awaits goes through background() or quietly()', () => {
  const bridge = readdirSync(import.meta.dirname, { recursive: true, encoding: 'utf8' }).map((name) => join(import.meta.dirname, name))
  const files = bridge.filter((path) => path.endsWith('.ts') && !path.endsWith('.test.ts') && !DOORS.test(path) && !/[/\\](dist|testing)[/\\]/.test(path))
  expect(findings(files)).toEqual([])
}, 120_000)

const CODE = `
declare function work(): Promise<number>
declare function each(listener: () => void): void
declare const say: (error: unknown) => void
export async function all(): Promise<void> {
  work() // 6
  void work() // 7
  work().catch(() => undefined) // 8
  work().then(say) // 9
  work().then(say, () => {}) // 10
  work().then(say, say).finally(() => say(1))
  work().catch(say)
  await work()
  each(async () => void (await work())) // 14
  each(() => work()) // 15
  each(() => { work() }) // 16
  each(() => say(1))
  let kept = work()
  kept = work()
  await kept.catch(() => undefined)
  kept.finally(() => say(1)) // 21
  void say(1)
}
`

test('the check finds what it is for, and nothing else', () => {
  const path = join(import.meta.dirname, 'made-for-the-check.ts')
  const host = ts.createCompilerHost({})
  const { getSourceFile, fileExists, readFile } = host
  host.getSourceFile = (name, ...more) => (name === path ? ts.createSourceFile(name, CODE, ts.ScriptTarget.ES2023, true) : getSourceFile.call(host, name, ...more))
  host.fileExists = (name) => name === path || fileExists.call(host, name)
  host.readFile = (name) => (name === path ? CODE : readFile.call(host, name))
  const lines = findings([path], host).map((text) => Number(/:(\d+) /.exec(text.slice(path.length))?.[1]))
  expect([...new Set(lines)]).toEqual([6, 7, 8, 9, 10, 14, 15, 16, 21])
}, 120_000)
