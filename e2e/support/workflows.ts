import type { Prompt } from './prompts.ts'

const image = { class_type: 'EmptyImage', inputs: { width: 64, height: 48, batch_size: 1, color: 1234567 } }

/** modern-grain alone; its exact result goes to `<name>.npy`, its report to node 4. */
export const grain = (name: string): Prompt => ({
  '1': image,
  '2': { class_type: 'ModernGrain', inputs: { image: ['1', 0], amount: 24 } },
  '3': { class_type: 'TroubleSave', inputs: { image: ['2', 0], name } },
  '4': { class_type: 'PreviewAny', inputs: { source: ['2', 1] } },
  '8': { class_type: 'PreviewImage', inputs: { images: ['2', 0] } },
})

/** Both sample packs in one workflow. */
export const both = (name: string): Prompt => ({
  ...grain(name),
  '5': { class_type: 'VintageTone', inputs: { image: ['2', 0], strength: 200 } },
  '6': { class_type: 'TroubleSave', inputs: { image: ['5', 0], name: `${name}-toned` } },
  '7': { class_type: 'PreviewAny', inputs: { source: ['5', 1] } },
  '9': { class_type: 'SaveImage', inputs: { images: ['5', 0], filename_prefix: name } },
})

let turns = 0

/** One node of the trouble-maker. It runs each time: the first node has an input that it does not know, which is another one in each prompt. */
export const trouble = (cls: string, inputs: Record<string, unknown> = {}): Prompt => ({
  '1': { ...image, inputs: { ...image.inputs, turn: ++turns } },
  '2': { class_type: cls, inputs: { image: ['1', 0], ...inputs } },
  '3': cls.match(/Where|Print/)
    ? { class_type: 'PreviewAny', inputs: { source: ['2', 0] } }
    : { class_type: 'PreviewImage', inputs: { images: ['2', 0] } },
})
