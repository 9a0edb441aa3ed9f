// PostgREST, at $POSTGREST_URL, as old code calls it. Each line of input is a round: `table` or `view`, whichever `patients` is; answered
// by `ok` or by what is wrong.
import assert from 'node:assert/strict'
import { createInterface } from 'node:readline'
import { setTimeout } from 'node:timers/promises'

const columns = ['id', 'code', 'name', 'ssn', 'info', 'born', 'minutes', 'visits']

async function ask(method, query, body, prefer = 'return=representation') {
  const headers = { 'Content-Type': 'application/json', Prefer: prefer }
  const answer = await fetch(`${process.env.POSTGREST_URL}/patients${query}`, { method, headers, body: body && JSON.stringify(body) })
  const text = await answer.text()
  return { status: answer.status, range: answer.headers.get('content-range'), rows: text ? JSON.parse(text) : null }
}

/** PostgREST is told of the new shape by NOTIFY, and needs a moment. */
async function reloaded() {
  for (let tries = 0; tries < 200; tries++) {
    const { status, rows } = await ask('GET', '?limit=1').catch(() => ({}))
    // It reads what it does not know yet, but writes only what its schema cache has.
    const isRead = status === 200 && rows.length === 1 && Object.keys(rows[0]).join() === columns.join()
    if (isRead && (await ask('PATCH', '?code=eq.none', { name: 'x' })).status === 200) return
    await setTimeout(50)
  }
  throw new Error('PostgREST does not have the old shape')
}

async function round(shape, n) {
  await reloaded()
  const code = `rest ${n}`
  const given = { code, name: 'Rest', ssn: '111', info: { a: 1 }, born: '1980-01-02', minutes: 1.5 }
  const made = await ask('POST', '', given)
  assert.equal(made.status, 201, JSON.stringify(made))
  assert.deepEqual(made.rows, [{ id: made.rows[0].id, ...given, visits: 0 }])
  const filter = `?code=eq.${encodeURIComponent(code)}`
  assert.deepEqual((await ask('GET', filter)).rows, made.rows)
  const some = await ask('GET', `${filter}&ssn=eq.111&name=ilike.re*&born=lt.1990-01-01&select=code,a:info->a&order=id.desc&limit=3`, undefined, 'count=exact')
  assert.deepEqual([some.rows, some.range], [[{ code, a: 1 }], '0-0/1'])

  const changed = await ask('PATCH', filter, { ssn: '222', name: 'Other' })
  assert.deepEqual([changed.status, changed.rows[0]?.ssn, changed.rows[0]?.name, changed.rows[0]?.minutes], [200, '222', 'Other', 1.5])
  assert.equal((await ask('PATCH', filter, { ssn: null }, 'return=minimal')).status, 204)
  assert.equal((await ask('GET', filter)).rows[0].ssn, null)
  const several = await ask('POST', '', [1, 2].map(i => ({ ...given, code: `${code} ${i}` })), 'return=minimal')
  assert.equal(several.status, 201)
  assert.equal((await ask('POST', '', given)).status, 409)
  const upserted = await ask('POST', '?on_conflict=code', { ...given, ssn: '333' }, 'return=representation,resolution=merge-duplicates')
  if (shape === 'view') assert.deepEqual([upserted.status, upserted.rows.code], [400, '42P10'])
  else assert.ok([200, 201].includes(upserted.status), JSON.stringify(upserted))
  assert.equal((await ask('DELETE', filter)).rows.length, 1)
}

let n = 0
for await (const shape of createInterface({ input: process.stdin })) {
  const answer = await round(shape, ++n).then(() => 'ok', error => String(error.stack).replaceAll('\n', ' | '))
  console.log(answer)
}
