import { type Ref, ref } from 'vue'

/** The packs that something is being worked out for, and a way to be one of them for a while. */
export function useBusy(): { busy: Ref<Set<string>>; during: <R>(packs: string[], work: () => Promise<R>) => Promise<R> } {
  const busy = ref(new Set<string>())
  const during = async <R>(packs: string[], work: () => Promise<R>): Promise<R> => {
    busy.value = new Set([...busy.value, ...packs])
    try {
      return await work()
    } finally {
      busy.value = new Set([...busy.value].filter((pack) => !packs.includes(pack)))
    }
  }
  return { busy, during }
}
