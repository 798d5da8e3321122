import type { Response } from 'undici'

/** The text of an answer, as UTF-8; null where it has more than `most` bytes, unpacked: it is read no further then. */
export async function limitedText({ body }: Response, most: number): Promise<string | null> {
  const decoder = new TextDecoder()
  let [text, bytes] = ['', 0]
  for await (const chunk of body ?? []) {
    bytes += (chunk as Uint8Array).length
    if (bytes > most) return null // leaving the loop ends the connection
    text += decoder.decode(chunk as Uint8Array, { stream: true })
  }
  return text + decoder.decode()
}
