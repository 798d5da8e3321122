/** Bridge, shim and ComfyUI, B of the fault list; and what comes in from outside, D. */
import { request } from 'node:http'
import { connect } from 'node:net'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { WebSocket } from 'ws'
import { fault, figure, quantile, residentOf, Subject, TIMES } from '../support/faults.ts'
import { bridgePid } from '../support/comfy.ts'
import { PanelClient } from '../support/panelClient.ts'
import { isAlive, until } from '../support/processes.ts'
import { queue, run } from '../support/prompts.ts'
import { AGAIN } from '../support/rounds.ts'
import { trouble } from '../support/workflows.ts'

test('18: kill -9 of the bridge while its worker is idle, loops, or keeps Python’s lock: the worker goes with it, every time', async () => {
  const took: number[] = []
  const kinds = [null, ['TroubleBusy', 'busy'], ['TroubleHold', 'holding']] as const
  // four deaths in five minutes are the most that the shim makes good: so a new ComfyUI for every three
  for (let round = 0; round < TIMES; round += 3) {
    const subject = await Subject.start('trouble-maker')
    try {
      for (let death = 0; death < 3 && round + death < TIMES; death++) {
        const kind = kinds[(round + death) % kinds.length]
        await run(subject.comfy.url, trouble('TroubleWhere'))
        const pid = kind ? (await subject.running(trouble(kind[0], { seconds: 60 }), kind[1])).pid : ((await subject.worker()).pid ?? 0)
        process.kill(bridgePid(subject.comfy.home) ?? 0, 'SIGKILL')
        took.push(await until('the worker to end', () => !isAlive(pid), 2000))
        await fetch(`${subject.comfy.url}/api/interrupt`, { method: 'POST' })
        subject.panel.close()
        subject.panel = await PanelClient.connect(subject.comfy.url)
        await until('calls to work again', async () => (await run(subject.comfy.url, trouble('TroubleWhere'))).status === 'success')
      }
    } finally {
      await subject.end('SIGKILL')
    }
  }
  expect(took).toHaveLength(TIMES)
  figure(18, `${took.length} of ${TIMES}, worst ${Math.max(...took)} ms`)
})

describe('one bridge', () => {
  let subject: Subject
  beforeAll(async () => void (subject = await Subject.start('fault-maker', { COMFY_ENV_WORKERS_PER_PACK: '8' })))
  afterAll(() => subject.end())

  const open = (path = '/panel'): Promise<WebSocket> => {
    const { port, token } = subject.connection()
    const socket = new WebSocket(`ws://127.0.0.1:${port}${path}`, { headers: { authorization: `Bearer ${token}` } })
    return new Promise((done, failed) => socket.once('open', () => done(socket)).once('error', failed))
  }

  test('22: a bridge that hangs does not hold up ComfyUI', async () => {
    const pid = bridgePid(subject.comfy.home) ?? 0
    process.kill(pid, 'SIGSTOP')
    const answers: number[] = []
    try {
      for (let end = Date.now() + 5000; Date.now() < end; ) {
        const asked = performance.now()
        await (await fetch(`${subject.comfy.url}/api/queue`)).text()
        answers.push(performance.now() - asked)
      }
    } finally {
      process.kill(pid, 'SIGCONT')
    }
    expect(quantile(answers, 0.99)).toBeLessThan(100)
    expect((await run(subject.comfy.url, fault('FaultEcho', { number: 22, milliseconds: 0 }))).status).toBe('success')
    figure(22, `${answers.length} answers, p99 ${quantile(answers, 0.99).toFixed(0)} ms, worst ${Math.max(...answers).toFixed(0)} ms`)
  })

  test('26: 64 calls at once on eight workers: each answer is its own', async () => {
    const prompt = Object.fromEntries(
      Array.from({ length: 64 }, (_, index) => [
        [`${index + 100}`, { class_type: 'FaultEcho', inputs: { number: index, milliseconds: 100 } }],
        [`${index + 200}`, { class_type: 'PreviewAny', inputs: { source: [`${index + 100}`, 0] } }],
      ]).flat(),
    ) as Parameters<typeof run>[1]
    const begin = performance.now()
    const { outputs } = await run(subject.comfy.url, prompt)
    expect(Array.from({ length: 64 }, (_, index) => outputs[`${index + 200}`]?.text?.[0])).toEqual(Array.from({ length: 64 }, (_, index) => `number ${index}`))
    expect((await subject.panel.snapshot()).workers).toHaveLength(8)
    figure(26, `64 right, ${((performance.now() - begin) / 1000).toFixed(1)} s with the start of the workers, ${(await subject.panel.snapshot()).workers.length} workers`)
  })

  test('55: 10,000 messages that are none: nothing through, nothing crashed, memory flat', AGAIN, async () => {
    const pid = bridgePid(subject.comfy.home) ?? 0
    const pieces = ['{"id":1,"method":"state.snapshot","params":{}}', '{"id":2,"method":"install.start","params":{"pack":"fault-maker"}}', '{"id":3,"method":"isolation.set","params":{"pack":"x","on":true}}']
    const junk: ((seed: number) => string | Buffer)[] = [
      (seed) => (pieces[seed % 3] ?? '').slice(0, 1 + (seed % 40)),
      (seed) => '['.repeat(1 + (seed % 5000)),
      (seed) => `{"id":${'9'.repeat(1 + (seed % 300))},"method":"state.snapshot","params":{}}`,
      () => '{"id":1,"method":"state.snapshot","params":{"__proto__":{"x":1}}}',
      () => '{"id":1,"method":"constructor","params":{}}',
      () => '{"id":NaN,"method":"state.snapshot","params":{}}',
      (seed) => `{"id":1,"method":"log.read","params":{"log":${JSON.stringify('../'.repeat(seed % 20))},"after":-1}}`,
      () => '{"id":1,"method":"install.start","params":{"pack":"fault-maker","combination":{"python":"--help","torch":1}}}',
      (seed) => `{"id":1,"method":"job.cancel","params":{"job":"job-${'x'.repeat(seed % 99)}"}}`,
      () => Buffer.from([0xff, 0xfe, 0x00, 0x80]),
      () => '{"id":1,"method":"settings.set","params":{"home":"/etc"}}',
      (seed) => JSON.stringify({ id: seed, method: 'isolation.set', params: { pack: 'a'.repeat(seed), on: 'yes', extra: null } }),
    ]
    let warm = 0
    let worst = 0
    for (let sent = 0; sent < 10_000; ) {
      const socket = await open()
      let answered = 0
      let asks = 0
      socket.on('message', () => answered++)
      socket.on('error', () => undefined)
      for (let batch = 0; batch < 350 && sent < 10_000; batch++, sent++, asks++) {
        const make = junk[sent % junk.length]
        const text = make?.(sent) ?? ''
        socket.send(typeof text === 'string' ? text : text.toString('latin1'))
      }
      await until('answers', () => answered >= 0.9 * asks || socket.readyState !== WebSocket.OPEN, 20_000)
      socket.terminate()
      const asked = performance.now()
      await subject.panel.snapshot()
      worst = Math.max(worst, performance.now() - asked)
      if (sent <= 3500) warm = residentOf(pid)
    }
    expect(isAlive(pid)).toBe(true)
    expect((await subject.panel.snapshot()).jobs).toEqual([])
    figure(55, `memory ${((residentOf(pid) - warm) / 1e6).toFixed(1)} MB more, a good message within ${worst.toFixed(0)} ms`)
  })

  test('56: two hundred sockets and handshakes that never end: limits hold, others are served', async () => {
    const { port } = subject.connection()
    const slow = Array.from({ length: 100 }, () => connect(port, '127.0.0.1').on('error', () => undefined))
    slow.forEach((socket) => socket.write('GET /panel HTTP/1.1\r\nHost: '))
    const many = await Promise.allSettled(Array.from({ length: 100 }, () => open()))
    const opened = many.filter(({ status }) => status === 'fulfilled').length
    const asked = performance.now()
    await subject.panel.snapshot()
    const took = performance.now() - asked
    many.forEach((each) => each.status === 'fulfilled' && each.value.terminate())
    slow.forEach((socket) => socket.destroy())
    expect(opened).toBeLessThanOrEqual(32)
    figure(56, `${opened} of 100 let in, a panel answered within ${took.toFixed(0)} ms`)
  })

  test('57: a flood of headers', async () => {
    const { port } = subject.connection()
    const ended = new Promise<string>((done) => {
      const socket = connect(port, '127.0.0.1').on('error', () => done('reset'))
      socket.on('close', () => done('closed'))
      socket.on('data', (data) => done(data.toString().slice(9, 12)))
      socket.write(`GET /panel HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\n`)
      for (let count = 0; count < 5000; count++) socket.write(`X-${count}: ${'x'.repeat(50)}\r\n`)
      socket.write('Upgrade: websocket\r\nConnection: Upgrade\r\n\r\n')
    })
    figure(57, `answered ${await ended}`)
    expect((await subject.panel.snapshot()).packs).toHaveLength(1)
  })

  test('58: a form, or a plain request, to the bridge and to ComfyUI’s route: nothing is done', async () => {
    const { port } = subject.connection()
    const status = (method: string): Promise<number> =>
      new Promise((done) => void request({ port, host: '127.0.0.1', path: '/panel', method, headers: { 'content-type': 'application/x-www-form-urlencoded' } }, (response) => done(response.statusCode ?? 0)).end('a=1'))
    expect(await Promise.all(['GET', 'POST', 'PUT'].map(status))).toEqual([426, 426, 426])
    const routed = await Promise.all(['GET', 'POST'].map(async (method) => (await fetch(`${subject.comfy.url}/api/envmanager/ws`, { method })).status))
    for (const code of routed) expect(code).toBeGreaterThanOrEqual(400)
    figure(58, `bridge 426, ComfyUI’s route ${routed.join(' and ')}`)
  })

  test('59: sixty names that are no pack', async () => {
    const names = ['../../etc', '..', '.', '..\\..', 'C:\\x', 'C:', 'CON', 'con.txt', 'NUL', 'com1', 'LPT9', 'a\0b', 'a/b', 'a\\b', '/etc', '~', '.hidden', 'a.', 'a ', '', ' ', 'a\nb', 'a\tb', '%2e%2e', '..%2f', 'x'.repeat(129), 'x'.repeat(10_000), 'ä', '\u202ex', 'a:b', 'a*b', 'a?b', 'a"b', 'a<b', 'a>b', 'a|b', '$(id)', '`id`', '${x}', 'a;b', '#', 'a#b', '\u0000', '\ufeffx', '../fault-maker', 'fault-maker/..', 'fault-maker/', './fault-maker', 'Fault-Maker', 'fault-maker.disabled', '__pycache__', 'aux', 'PRN.x', 'a..', 'a. ', '=x', '[x]', '{x}', '^', '%00']
    expect(names).toHaveLength(60)
    for (const pack of names) {
      for (const method of ['install.preview', 'pack.nodes'] as const) await expect(subject.panel.call(method, { pack })).rejects.toThrow(/BAD_REQUEST|UNKNOWN_PACK/)
    }
    figure(59, '60 refused, each by two methods')
  })

  test('21: four deaths of the bridge in five minutes: the shim stops, says so, and other nodes go on', async () => {
    const other = await Subject.start('fault-maker')
    try {
      for (let death = 0; death < 4; death++) {
        const pid = await until('a bridge', () => isAlive(bridgePid(other.comfy.home) ?? 0)).then(() => bridgePid(other.comfy.home) ?? 0)
        process.kill(pid, 'SIGKILL')
        await until('it to end', () => !isAlive(pid))
        if (death < 3) await until('the next one', () => ![0, pid].includes(bridgePid(other.comfy.home) ?? 0) && isAlive(bridgePid(other.comfy.home) ?? 0), 30_000)
      }
      const notice = await new Promise<string>((done) => {
        const socket = new WebSocket(`${other.comfy.url.replace('http', 'ws')}/api/envmanager/ws`, { origin: other.comfy.url })
        socket.on('message', (data: Buffer) => {
          const { params } = JSON.parse(data.toString()) as { params?: { status: string; message: string } }
          if (params?.status === 'failed') done(params.message)
        })
      })
      expect(notice).toContain('The bridge ended 4 times.')
      await queue(other.comfy.url, { '1': { class_type: 'EmptyImage', inputs: { width: 8, height: 8, batch_size: 1, color: 0 } }, '2': { class_type: 'PreviewImage', inputs: { images: ['1', 0] } } })
      figure(21, notice)
    } finally {
      await other.end('SIGKILL')
    }
  })
})
