# psycopg with prepared statements that keep their names, as old code calls it. Each line of input is a round: `table` or `view`,
# whichever `patients` is; answered by `ok` or by what is wrong.
import datetime, os, sys, traceback

sys.path.insert(0, os.environ['PROJH_CLIENTS'] + '/python')
import psycopg
from decimal import Decimal
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

db = psycopg.connect(options='-c search_path=' + os.environ['SEARCH_PATH'], autocommit=True, prepare_threshold=0, row_factory=dict_row)
COLUMNS = ['id', 'code', 'name', 'ssn', 'info', 'born', 'minutes', 'visits']
INSERT = 'insert into patients (code, name, ssn, info, born, minutes) values (%s, %s, %s, %s, %s, %s) returning *'
SELECT = 'select * from patients where code = %s'


def round(shape, n):
    code = f'psycopg {n}'
    given = ['Psy', '111', Jsonb({'a': 1}), datetime.date(1980, 1, 2), Decimal('1.5')]
    made = db.execute(INSERT, [code, *given]).fetchone()
    assert list(made) == COLUMNS, made
    assert [made['ssn'], made['info'], str(made['minutes']), made['visits']] == ['111', {'a': 1}, '1.50', 0], made
    assert db.execute(SELECT, [code]).fetchall() == [made]
    some = "select code from patients where ssn = %s and info @> %s and code like %s and born between %s and %s order by id limit 3"
    day = datetime.date(1980, 1, 2)
    assert db.execute(some, ['111', Jsonb({'a': 1}), code + '%', day, day]).fetchall() == [{'code': code}]

    changed = db.execute('update patients set ssn = %s, name = %s where code = %s returning ssn, name', ['222', 'Other', code])
    assert changed.fetchall() == [{'ssn': '222', 'name': 'Other'}]
    with db.cursor() as cursor:
        cursor.executemany(INSERT, [[f'{code} {i}', *given] for i in range(3)])
        assert cursor.execute('update patients set visits = visits + 1 where code like %s', [code + ' %']).rowcount == 3
        try:
            with db.transaction():
                cursor.execute('update patients set ssn = null where code = %s', [code])
                with db.transaction(force_rollback=True):
                    cursor.execute('delete from patients where code like %s', [code + '%'])
                raise psycopg.Rollback()
        except psycopg.Rollback:
            pass
    assert db.execute(SELECT, [code]).fetchone()['ssn'] == '222'
    try:
        db.execute(INSERT, [code, *given])
        raise AssertionError('it is not unique')
    except psycopg.errors.UniqueViolation:
        pass
    try:
        db.execute(INSERT.replace('returning *', 'on conflict (code) do update set ssn = excluded.ssn'), [code, *given])
        assert shape == 'table'
    except psycopg.errors.InvalidColumnReference:
        assert shape == 'view'
    with db.transaction():
        with db.cursor(name='of_rows') as cursor:
            cursor.execute('select code from patients where code like %s order by code', [code + '%'])
            assert len(cursor.fetchmany(2)) == 2
    assert db.execute('delete from patients where code = %s returning ssn', [code]).rowcount == 1


for n, shape in enumerate(map(str.strip, sys.stdin), 1):
    try:
        round(shape, n)
        print('ok', flush=True)
    except Exception:
        print(traceback.format_exc().replace('\n', ' | '), flush=True)
