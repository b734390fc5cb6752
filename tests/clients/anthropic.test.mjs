// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict';
import {test} from 'node:test';
import Anthropic from '@anthropic-ai/sdk';
import {ask, collect, key, model, refused, url} from './support.mjs';

const client = new Anthropic({baseURL: url, apiKey: key, maxRetries: 0});
const fields = {model, max_tokens: 10, temperature: 0, messages: ask};
const ignore = {...fields, ignore_eos: true};

test('anthropic create', async () => {
  const message = await client.messages.create(ignore);
  assert.equal(message.type, 'message');
  assert.equal(message.content[0].type, 'text');
  assert.equal(message.stop_reason, 'max_tokens');
  assert.equal(message.usage.output_tokens, 10);
});
test('anthropic stream', async () => {
  const events = await collect(await client.messages.create({...ignore, stream: true}));
  assert.equal(events[0].type, 'message_start');
  assert.equal(events.at(-1).type, 'message_stop');
});
test('anthropic stream helper', async () => {
  const stream = client.messages.stream(ignore);
  const whole = await client.messages.create(ignore);
  assert.equal(await stream.finalText(), whole.content[0].text);
});
test('anthropic system', async () => assert.ok((await client.messages.create({...fields, system: 'Be brief.'})).content));
test('anthropic system blocks', async () =>
  assert.ok((await client.messages.create({...fields, system: [{type: 'text', text: 'Be brief.'}]})).content));
test('anthropic conversation', async () =>
  assert.ok((await client.messages.create({...fields, messages: [...ask, {role: 'assistant', content: 'So.'}, ...ask]})).content));
test('anthropic prefill', async () =>
  assert.ok((await client.messages.create({...ignore, messages: [...ask, {role: 'assistant', content: 'Open'}]})).content));
test('anthropic stop sequence', async () => {
  const whole = (await client.messages.create({...ignore, max_tokens: 40})).content[0].text;
  const stop = whole.slice(10, 13);
  const message = await client.messages.create({...ignore, max_tokens: 40, stop_sequences: [stop]});
  assert.equal(message.stop_reason, 'stop_sequence');
  assert.equal(message.stop_sequence, stop);
});
test('anthropic tool history', async () => {
  const messages = [...ask, {role: 'assistant', content: [{type: 'tool_use', id: 'toolu_01', name: 'f', input: {a: 1}}]},
    {role: 'user', content: [{type: 'tool_result', tool_use_id: 'toolu_01', content: '42'}]}];
  assert.ok((await client.messages.create({...ignore, messages})).content);
});
test('anthropic count tokens', async () =>
  assert.ok((await client.messages.countTokens({model, messages: ask})).input_tokens > 3));
test('anthropic bad request', () => refused(client.messages.create({...fields, max_tokens: 0}), 400));
test('anthropic wrong key', () =>
  refused(new Anthropic({baseURL: url, apiKey: 'no', maxRetries: 0}).messages.create(fields), 401));
test('anthropic unknown model', () => refused(client.messages.create({...fields, model: 'none'}), 404));
