import { expect, test } from 'vitest'
import { EnvId, WorkerId } from '../../schemas/ids'
import { envIdOf, olderEnvIdOf } from './envIds'

test('the ids of two packs never meet, whatever they are called', () => {
  const names = ['Fancy Pack', 'fancy pack', 'fancy-pack', 'FANCY-PACK', 'a', 'A', 'a-shared', 'A-shared', 'ComfyUI-中文节点', '中文', 'pack[1]', '-x', '_x', '🎨', 'x'.repeat(48), 'x'.repeat(49), 'x'.repeat(50), 'é', 'e\u0301']
  // each name's id as another pack's name, over and over
  for (let round = 0; round < 3; round++) names.push(...names.flatMap((name) => [envIdOf(name), olderEnvIdOf(name), `${envIdOf(name)}-shared`]))
  const packs = [...new Set(names)]
  const ids = packs.map(envIdOf)
  expect(new Set(ids).size).toBe(packs.length)
  // and none is that of a process which packs share
  const shared = new Set(ids.map((id) => `${id}-shared`))
  expect(ids.filter((id) => shared.has(id))).toEqual([])
  for (const id of ids) expect([EnvId.safeParse(id).success, WorkerId.safeParse(`${id}-shared#1`).success]).toEqual([true, true])
})

test('a plain name is its own id, as ever', () => {
  for (const name of ['three-wheels', 'comfyui_essentials', 'a']) expect([envIdOf(name), olderEnvIdOf(name)]).toEqual([name, name])
})
