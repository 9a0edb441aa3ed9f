// Knex as old code calls it. Each line of input is a round: `table` or `view`, whichever `patients` is; answered by `ok` or by what is wrong.
import assert from 'node:assert/strict'
import { createRequire } from 'node:module'
import { createInterface } from 'node:readline'

const require = createRequire(process.env.PROJH_CLIENTS + '/package.json')
const searchPath = process.env.SEARCH_PATH.split(',')
const knex = require('knex')({ client: 'pg', connection: {}, searchPath, pool: { min: 1, max: 2 } })
const columns = ['id', 'code', 'name', 'ssn', 'info', 'born', 'minutes', 'visits']
const patients = () => knex('patients')

async function round(shape, n) {
  const code = `knex ${n}`
  const given = { code, name: 'Knex', ssn: '111', info: { a: 1 }, born: '1980-01-02', minutes: 1.5 }
  const [made] = await patients().insert(given).returning('*')
  assert.deepEqual(Object.keys(made), columns)
  assert.deepEqual([made.ssn, made.info, made.minutes, made.visits], ['111', { a: 1 }, '1.50', 0])
  assert.deepEqual(await patients().where({ code }).first(), made)
  assert.equal((await patients().where({ ssn: '111', code }).whereRaw("info->>'a' = ?", ['1'])).length, 1)
  assert.equal((await patients().whereIn('code', [code, 'none']).whereILike('name', 'kn%').orderBy('id').limit(5)).length, 1)
  assert.equal((await patients().where('born', '<', '1990-01-01').where({ code }).count('* as n').first()).n, '1')

  const changed = await patients().where({ code }).update({ ssn: '222', name: 'Other' }).returning(['ssn', 'name', 'minutes'])
  assert.deepEqual(changed, [{ ssn: '222', name: 'Other', minutes: '1.50' }])
  assert.equal(await patients().where({ code }).update({ ssn: null }), 1)
  assert.equal(await patients().where({ code }).increment('visits', 2), 1)
  assert.deepEqual(await patients().where({ code }).first('ssn', 'visits'), { ssn: null, visits: 2 })

  const undone = knex.transaction(async transaction => {
    await transaction('patients').insert({ ...given, code: code + ' undone' })
    throw new Error('undone')
  })
  await assert.rejects(undone, /undone/)
  await knex.transaction(async transaction => {
    const [{ id }] = await transaction('patients').insert({ ...given, code: code + ' done' }).returning('id')
    assert.equal(await transaction('patients').where({ id }).update({ minutes: 2 }), 1)
    assert.equal((await transaction('patients').where({ id }).forShare().first()).minutes, '2.00')
  })
  assert.deepEqual(await patients().whereLike('code', `${code} %`).pluck('code'), [code + ' done'])
  await assert.rejects(patients().insert({ ...given, code }), error => error.code === '23505')

  const upserted = patients().insert({ ...given, code, ssn: '333' }).onConflict('code').merge(['ssn'])
  if (shape === 'view') await assert.rejects(upserted, error => error.code === '42P10')
  else await upserted
  assert.equal(await patients().where({ code }).del(), 1)
  assert.equal(await patients().where({ code }).del(), 0)
}

let n = 0
for await (const shape of createInterface({ input: process.stdin })) {
  const answer = await round(shape, ++n).then(() => 'ok', error => String(error.stack).replaceAll('\n', ' | '))
  console.log(answer)
}
await knex.destroy()
