import { z } from 'zod'

/** `z.record` leaves this key out. */
const PROTO = '__proto__'
/** Under which it goes through. No file, pack or class is called so. */
const MEANWHILE = '\0__proto__'

function renamed(value: unknown, from: string, to: string): unknown {
  if (typeof value !== 'object' || value === null || Array.isArray(value) || !Object.hasOwn(value, from)) return value
  return Object.fromEntries(Object.entries(value).map(([name, item]) => [name === from ? to : name, item]))
}

type AnyRecord = z.ZodRecord<z.ZodString, z.ZodType>

const NamedRecord = z.core.$constructor<AnyRecord>('NamedRecord', (record, definition) => {
  z.ZodRecord.init(record, definition)
  const { parse } = record._zod
  record._zod.parse = (payload, context) => {
    const end = (read: typeof payload): typeof payload => Object.assign(read, { value: renamed(read.value, MEANWHILE, PROTO) })
    payload.value = renamed(payload.value, PROTO, MEANWHILE)
    const read = parse(payload, context)
    return read instanceof Promise ? read.then(end) : end(read)
  }
})

/** A record by names that others choose, such as node classes: whatever they are, `__proto__` too. Look into it with `valueOf`. */
export function byName<T extends z.ZodType>(value: T): z.ZodRecord<z.ZodString, T> {
  return new NamedRecord(z.record(z.string(), value).def) as z.ZodRecord<z.ZodString, T>
}

/** What a record holds for a name; undefined: nothing, whatever each object inherits under that name. */
export const valueOf = <T>(record: Readonly<Record<string, T>>, name: string): T | undefined => (Object.hasOwn(record, name) ? record[name] : undefined)
