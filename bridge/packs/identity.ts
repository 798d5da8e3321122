import { join } from 'node:path'
import { z } from 'zod'
import { readText } from '../files'
import { parseToml } from '../toml'

/** What a pack is known by beside its folder's name. Each may be absent. */
export interface PackIdentity {
  /** `publisher/name` of the registry of node packs (`[tool.comfy]` and `[project]` of its pyproject.toml). */
  project: string | null
  /** Where its source is: the origin of its git clone, or `[project.urls]`. */
  repository: string | null
}

const Pyproject = z.looseObject({
  project: z.looseObject({ name: z.string().optional(), urls: z.record(z.string(), z.unknown()).optional() }).optional(),
  tool: z.looseObject({ comfy: z.looseObject({ PublisherId: z.string().optional() }).optional() }).optional(),
})

/** One spelling of an address of a repository: `git@host:owner/name.git` and `https://host/owner/name` are one. */
export function plainRepository(address: string): string | null {
  const path = address.trim().replace(/^[a-z+]+:\/\//i, '').replace(/^[^/@]*@/, '').replace(/^([^/:]+):(?!\d+\/)/, '$1/')
  const plain = path.replace(/[?#].*$/, '').replace(/\/+$/, '').replace(/\.git$/i, '').toLowerCase()
  return plain.includes('/') ? plain : null
}

/** The address of `[remote "origin"]` in a clone's own git config. */
function originIn(config: string): string | null {
  const [, section = ''] = /^\s*\[remote "origin"\]\s*$([^[]*)/m.exec(config) ?? []
  return /^\s*url\s*=\s*(\S+)\s*$/m.exec(section)?.[1] ?? null
}

function projectIn(text: string, path: string): { project: string | null; url: string | null } {
  const { project, tool } = Pyproject.parse(parseToml(text, path))
  const [name, publisher] = [project?.name?.trim().toLowerCase(), tool?.comfy?.PublisherId?.trim().toLowerCase()]
  const url = Object.entries(project?.urls ?? {}).find(([key]) => key.toLowerCase() === 'repository')?.[1]
  return { project: name && publisher ? `${publisher}/${name}` : null, url: typeof url === 'string' ? url : null }
}

/** What a pack's own files say that it is; what cannot be read says nothing. */
export async function packIdentity(dir: string): Promise<PackIdentity> {
  const path = join(dir, 'pyproject.toml')
  const said = await readText(path).then((text) => (text === null ? null : projectIn(text, path))).catch(() => null)
  const origin = await readText(join(dir, '.git', 'config')).then((text) => (text === null ? null : originIn(text))).catch(() => null)
  return { project: said?.project ?? null, repository: plainRepository(origin ?? said?.url ?? '') }
}

/** Whether two packs say that they are one: by their project, or else by their repository. */
export function isSamePack(one: PackIdentity, other: PackIdentity): boolean {
  if (one.project !== null && other.project !== null) return one.project === other.project
  return one.repository !== null && one.repository === other.repository
}
