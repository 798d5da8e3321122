import { shallowReactive } from 'vue'
import { t } from './i18n'

/** A place of the frontend that we use. */
export type Place = keyof typeof t.withoutPlace

/** What a frontend that we do not know costs, a sentence each: shown in the panel. */
export const lacking = shallowReactive<string[]>([])

function say(why: string, without: string): void {
  const sentence = t.unknownFrontend(why, without)
  if (lacking.includes(sentence)) return
  lacking.push(sentence)
  console.error(`comfyui-envmanager: ${sentence}`)
}

/** Looks once whether the frontend has what we use. */
export function probe(places: Record<Place, unknown>): void {
  for (const place of Object.keys(t.withoutPlace) as Place[]) if (typeof places[place] !== 'function') say(t.hasNo(place), t.withoutPlace[place])
}

/** Does one thing with the frontend; one that answers otherwise than we know costs that thing, and nothing else. */
export function stepIn(place: Place, work: () => unknown): void {
  try {
    work()
  } catch (error) {
    say(`${place}: ${error instanceof Error ? error.message : String(error)}`, t.withoutPlace[place])
  }
}
