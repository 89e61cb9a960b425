/**
 * T14: the rings' protocols in every order of their steps that makes a difference, with the real code; and with a bug each, which must be
 * found. Bounds: the threads and records that a program's name says, in a ring with room for two records; where `preemptions` is given,
 * threads are cut short at most so often; each program with a death loses one thread, at any step.
 */
import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { explore } from '../src/testing/explorer/explore.ts';
import { BUILT, CASTS, MUTANTS, codeIn, mutated, program, type Code } from './rings-machine.ts';
import { amount } from './thorough.ts';

let code: Code;
before(async () => {
  code = await codeIn(BUILT);
});

/** How much of each program the suite explores. Without a number: all of it. */
const PREEMPTIONS: Readonly<Record<string, number | undefined>> = {
  'one producer, one consumer, 3 records through room for 2': amount(1, 2),
  'slots, one and one, 2 records': amount(1, 2),
  'slots, one and one, 3 records through room for 2': 1,
  'two producers, one consumer, a record each': 1,
  'one producer, two consumers, a record each': 1,
  'two producers, two consumers, a record each': 0,
  'a producer dies beside another': 0,
  'a consumer dies with a record, and its slot is wanted': 0,
};

/** Of programs with very many orders, how many; the bugs below that such a program finds are found in the first dozen. */
const FIRST: Readonly<Record<string, number | undefined>> = {
  'a consumer dies with a record, and its slot is wanted': amount(300, Infinity),
};

for (const name of Object.keys(CASTS)) {
  const preemptions = PREEMPTIONS[name];
  const first = FIRST[name] ?? Infinity;
  const orders = preemptions === undefined ? 'all orders' : `orders with at most ${preemptions} preemptions`;
  const bound = first === Infinity ? orders : `the first ${first} ${orders}`;
  test(`T14 explored, ${bound}: ${name}`, (t) => {
    const { failure, executions, steps, complete } = explore(program(code, name), {
      ...(preemptions === undefined ? {} : { preemptions }),
      ...(first === Infinity ? {} : { executions: first }),
    });
    assert.equal(failure, undefined, `${failure?.message}\n${failure?.trace.join('\n')}`);
    assert.ok((complete || executions === first) && executions > 3, `${executions} executions`);
    t.diagnostic(`${executions} executions, ${steps} steps`);
  });
}

for (const mutant of MUTANTS) {
  test(`T14 explored: finds a ring that ${mutant.name}`, async () => {
    const { code: broken, dispose } = await mutated(mutant);
    try {
      const { preemptions } = mutant;
      const { failure, executions } = explore(program(broken, mutant.found), {
        executions: 3000,
        steps: 400,
        ...(preemptions === undefined ? {} : { preemptions }),
      });
      assert.notEqual(failure, undefined, `not found in ${executions} executions`);
    } finally {
      dispose();
    }
  });
}
