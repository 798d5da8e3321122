/** The direction of data: schemas ← bridge, schemas ← web. What is pure stays pure; one file runs uv, one spawns workers. */
const pure = '^bridge/(resolve|packs/(status|markers)|workers/restartPolicy|install/uvArgs|state/)'

module.exports = {
  forbidden: [
    { name: 'no-cycles', severity: 'error', from: {}, to: { circular: true, viaOnly: { dependencyTypesNot: ['type-only'] } } },
    { name: 'schemas-import-zod-only', severity: 'error', from: { path: '^schemas/', pathNot: '^schemas/(build|.*\\.test)\\.ts$' }, to: { pathNot: '^(schemas/|node_modules/zod/)' } },
    { name: 'bridge-not-web', severity: 'error', from: { path: '^bridge/' }, to: { path: '^(web|e2e|bench|scripts)/' } },
    { name: 'web-not-bridge', severity: 'error', from: { path: '^web/' }, to: { path: '^(bridge|e2e|bench|scripts)/' } },
    {
      name: 'web-has-no-node',
      severity: 'error',
      from: { path: '^web/', pathNot: '\\.test\\.ts$' },
      to: { dependencyTypes: ['core'] },
    },
    {
      name: 'pure-code-stays-pure',
      severity: 'error',
      from: { path: pure, pathNot: '\\.test\\.ts$' },
      to: { path: '^node_modules/(ws|execa)/', dependencyTypesNot: ['type-only'] },
    },
    {
      name: 'pure-code-has-no-node',
      severity: 'error',
      from: { path: pure, pathNot: '\\.test\\.ts$' },
      to: { dependencyTypes: ['core'] },
    },
    {
      name: 'one-place-starts-workers',
      severity: 'error',
      from: { path: '^bridge/', pathNot: '^bridge/(workers/process\\.ts|testing/.*|.*\\.test\\.ts)$' },
      to: { path: '^(node:)?child_process$' },
    },
    {
      name: 'execa-in-one-place',
      comment: 'program.ts starts every program but the workers, and ends it with all that it has started',
      severity: 'error',
      from: { path: '^bridge/', pathNot: '^bridge/program\\.ts$' },
      to: { path: '^node_modules/execa/' },
    },
    { name: 'one-server', severity: 'error', from: { path: '^bridge/', pathNot: '^bridge/rpc/server(\\.test)?\\.ts$' }, to: { path: '^node_modules/ws/' } },
    { name: 'one-file-touches-the-host', severity: 'error', from: { path: '^web/', pathNot: '^web/(main|comfy/comfyApi)\\.ts$' }, to: { path: '^web/comfy/' } },
    { name: 'e2e-from-outside', severity: 'error', from: { path: '^e2e/' }, to: { path: '^(bridge|web)/' } },
  ],
  options: {
    doNotFollow: { path: 'node_modules' },
    exclude: { path: '(^|/)dist/' },
    tsConfig: { fileName: 'tsconfig.json' },
    tsPreCompilationDeps: true,
    enhancedResolveOptions: { extensions: ['.ts', '.vue', '.mjs', '.js'] },
  },
}
