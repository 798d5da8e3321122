/** A prompt in ComfyUI's API format. */
export type Prompt = Record<string, { class_type: string; inputs: Record<string, unknown> }>

export interface Outcome {
  status: 'success' | 'error'
  outputs: Record<string, Record<string, unknown[]>>
  /** The closing message: execution_success, execution_error or execution_interrupted, with its data. */
  end: string
  error: { exception_type?: string; exception_message?: string; traceback?: string[]; node_id?: string }
}

interface Entry {
  outputs: Outcome['outputs']
  status: { status_str: 'success' | 'error'; messages: [string, Record<string, unknown>][] }
}

/** Queues a prompt, with what a client sends beside it; throws with ComfyUI's message if it is refused. */
export async function queue(url: string, prompt: Prompt, extra: Record<string, unknown> = {}): Promise<string> {
  const response = await fetch(`${url}/api/prompt`, { method: 'POST', body: JSON.stringify({ prompt, client_id: 'tests', extra_data: extra }) })
  const body = (await response.json()) as { prompt_id: string; error?: { message: string } }
  if (!response.ok) throw new Error(`${body.error?.message} ${JSON.stringify(body)}`)
  return body.prompt_id
}

/** Waits for a queued prompt's end. */
export async function finished(url: string, id: string, timeoutMs = 60_000): Promise<Outcome> {
  const until = Date.now() + timeoutMs
  for (;;) {
    const history = (await (await fetch(`${url}/api/history/${id}`)).json()) as Record<string, Entry>
    const entry = history[id]
    if (entry) {
      const [end, error] = entry.status.messages.at(-1) ?? ['', {}]
      return { status: entry.status.status_str, outputs: entry.outputs, end, error }
    }
    if (Date.now() > until) throw new Error('the prompt did not end')
    await new Promise((done) => setTimeout(done, 20))
  }
}

/** Presses Cancel and waits for the prompt's end. A prompt that has not begun yet forgets the wish: it is said until it is heard. */
export async function cancelled(url: string, id: string): Promise<Outcome> {
  const state = { ended: false }
  const ending = finished(url, id).finally(() => (state.ended = true))
  while (!state.ended) {
    await fetch(`${url}/api/interrupt`, { method: 'POST', body: JSON.stringify({ prompt_id: id }) })
    await Promise.race([ending, new Promise((done) => setTimeout(done, 100))])
  }
  return ending
}

/** Makes ComfyUI forget cached results: a node with the same inputs is not run again otherwise, isolated or not. */
export async function forgetResults(url: string): Promise<void> {
  await fetch(`${url}/api/free`, { method: 'POST', body: JSON.stringify({ free_memory: true }) })
}

/** Makes ComfyUI forget the prompts that have ended: what it remembers of each is its own. */
export async function forgetHistory(url: string): Promise<void> {
  await fetch(`${url}/api/history`, { method: 'POST', body: JSON.stringify({ clear: true }) })
}

export const run = async (url: string, prompt: Prompt, extra: Record<string, unknown> = {}): Promise<Outcome> => finished(url, await queue(url, prompt, extra))
