import { expect, test } from 'vitest'
import type { Fingerprint } from '../../schemas/host'
import { packageFacts } from '../registry/registry'
import { makeTarget } from './target'
import { why } from './why'

const HERE: Fingerprint = {
  python: { version: '3.12', tag: 'cp312', abi: 'cp312', executable: 'python', source: 'test' },
  platform: { tag: 'linux_x86_64', os: 'linux', arch: 'x86_64', glibc: '2.39' },
  torch: { version: '2.7.1', cuda: '12.8', hip: null, cxx11abi: true, source: 'test' },
  cuda: { version: '12.8', driver: null, driver_max_cuda: null, source: 'test' },
  gpus: [{ name: 'GPU', compute: '8.9', memory_bytes: null, uuid: null }],
}
const asked = (address: string) => why(address, makeTarget(HERE), packageFacts)

test.each([
  ['a folder that names another GPU', 'https://h.example/cu128-torch271-py312-sm90/nunchaku-1.3.0.dev20260215+cu12.8torch2.7-cp312-cp312-linux_x86_64.whl', { compatible: false, reasons: ['SM_MISSING'] }],
  ['a folder that names this GPU among others', 'https://h.example/sm80_86_89/nunchaku-1.3.0+cu12.8torch2.7-cp312-cp312-linux_x86_64.whl', { compatible: true, warnings: [] }],
  ['a label that begins with a dot', 'o_voxel-0.0.1+rocm.10.0-cp312-cp312-linux_x86_64.whl', { labels: { rocm: '10.0', backend: 'rocm' }, reasons: ['BACKEND'] }],
  ['a CUDA that is a part of the name', 'mlx_cuda_13-0.32.4-cp312-cp312-manylinux_2_35_x86_64.whl', { package: 'mlx-cuda-13', version: '0.32.4', labels: { cuda: '13', backend: 'cuda' }, reasons: ['CUDA_MAJOR'] }],
  ['a torch that is a container release', 'causal_conv1d-1.6.0+cu12torch25.11cxx11abiTRUE-cp312-cp312-linux_x86_64.whl', { labels: { torch: null, cuda: '12' }, compatible: true, warnings: ['UNLABELLED'] }],
  ['no label at all', 'vllm-0.33.0-cp38-abi3-manylinux1_x86_64.whl', { compatible: true, warnings: ['UNLABELLED'] }],
  ['pure Python', 'x-1.0-py3-none-any.whl', { compatible: true, warnings: [] }],
])('%s', (_, address, report) => {
  expect(asked(address)).toMatchObject(report)
})
