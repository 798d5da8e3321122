import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { ERROR_CODES } from '../../schemas/errors'

test.each(ERROR_CODES)('%s has a page that says when it comes and what to do', (code) => {
  const page = join(import.meta.dirname, '..', '..', 'docs', 'errors', `${code}.md`)
  expect(existsSync(page)).toBe(true)
  expect(readFileSync(page, 'utf8')).toMatch(new RegExp(`^# ${code}\\n[\\s\\S]*## When\\n[\\s\\S]*## What to do\\n`))
})
