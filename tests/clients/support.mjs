// SPDX-License-Identifier: Apache-2.0
// What the client tests share: the server's address, key and a greedy request.
import assert from 'node:assert/strict';

export const url = process.env.MIXTRAL_URL;
export const key = 'secret';
export const model = 'tiny';
export const ask = [{role: 'user', content: 'How do I print?'}];
// Fields of ours beside OpenAI's: the tiny model would end early.
export const greedy = {model, messages: ask, max_tokens: 12, temperature: 0, ignore_eos: true};

for (;;) {
  try {
    if ((await fetch(url + '/health')).ok) break;
  } catch {}
  await new Promise((resolve) => setTimeout(resolve, 50));
}

export async function collect(stream) {
  const items = [];
  for await (const item of stream) items.push(item);
  return items;
}

export async function refused(promise, status, check = () => {}) {
  await assert.rejects(promise, (error) => {
    assert.equal(error.status ?? error.statusCode, status, String(error));
    check(error);
    return true;
  });
}
