// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict';
import {test} from 'node:test';
import OpenAI from 'openai';
import {ask, collect, greedy, key, model, refused, url} from './support.mjs';

const client = new OpenAI({baseURL: url + '/v1', apiKey: key, maxRetries: 0});
const bare = new OpenAI({baseURL: url, apiKey: key, maxRetries: 0});
const chat = (fields = {}, options) => client.chat.completions.create({...greedy, ...fields}, options);
const text = async (fields) => (await chat(fields)).choices[0].message.content;
const pieces = (chunks, i = 0) =>
  chunks.flatMap((c) => c.choices).filter((c) => c.index === i).map((c) => c.delta.content ?? '').join('');

test('openai models.list', async () => assert.equal((await collect(client.models.list()))[0].id, model));
test('openai models.retrieve', async () => assert.equal((await client.models.retrieve(model)).object, 'model'));
test('openai models.retrieve unknown', () => refused(client.models.retrieve('none'), 404));
test('openai wrong key', () =>
  refused(new OpenAI({baseURL: url + '/v1', apiKey: 'no', maxRetries: 0}).models.list(), 401,
    (e) => assert.ok(e instanceof OpenAI.AuthenticationError)));
test('openai chat', async () => {
  const answer = await chat();
  assert.equal(answer.choices[0].finish_reason, 'length');
  assert.equal(answer.usage.completion_tokens, 12);
  assert.equal(answer.usage.total_tokens, answer.usage.prompt_tokens + 12);
  assert.equal(answer.object, 'chat.completion');
});
test('openai chat without /v1', async () =>
  assert.equal((await bare.chat.completions.create(greedy)).choices[0].message.content, await text()));
test('openai chat stream', async () => {
  const chunks = await collect(await chat({stream: true}));
  assert.equal(pieces(chunks), await text());
  assert.equal(new Set(chunks.map((c) => c.id)).size, 1);
  assert.equal(chunks.at(-1).choices[0].finish_reason, 'length');
});
test('openai chat stream with usage', async () => {
  const chunks = await collect(await chat({stream: true, stream_options: {include_usage: true}}));
  assert.equal(chunks.at(-1).usage.completion_tokens, 12);
  assert.deepEqual(chunks.at(-1).choices, []);
});
test('openai chat.completions.stream helper', async () => {
  const runner = client.chat.completions.stream(greedy);
  assert.equal(await runner.finalContent(), await text());
});
test('openai stream helper events', async () => {
  let seen = '';
  const runner = client.chat.completions.stream({...greedy, stream_options: {include_usage: true}});
  runner.on('content', (delta) => (seen += delta));
  assert.equal((await runner.totalUsage()).completion_tokens, 12);
  assert.equal(seen, await text());
});
test('openai stream abort', async () => {
  const stream = await chat({stream: true, max_tokens: 400});
  for await (const chunk of stream) {
    assert.ok(chunk.id);
    stream.controller.abort();
    break;
  }
});
test('openai request id', async () => {
  const {response, request_id: id} = await chat({}, {headers: {'X-Request-Id': 'from-client'}}).withResponse?.() ??
    await client.chat.completions.create(greedy, {headers: {'X-Request-Id': 'from-client'}}).withResponse();
  assert.equal(response.headers.get('x-request-id'), 'from-client');
  assert.equal(id, 'from-client');
});
for (const n of [1, 2, 4]) {
  test(`openai n=${n}`, async () => {
    const answer = await chat({n, temperature: 1.5, seed: 3});
    assert.deepEqual(answer.choices.map((c) => c.index), [...Array(n).keys()]);
    const chunks = await collect(await chat({n, temperature: 1.5, seed: 3, stream: true}));
    for (let i = 0; i < n; i++) assert.equal(pieces(chunks, i), answer.choices[i].message.content);
  });
}
for (const seed of [0, 7, -1, 2 ** 40]) {
  test(`openai seed ${seed}`, async () =>
    assert.equal(await text({seed, temperature: 1.2}), await text({seed, temperature: 1.2})));
}
test('openai stop string', async () => {
  const whole = await text({max_tokens: 40});
  const stop = whole.slice(10, 13);
  const answer = await chat({max_tokens: 40, stop});
  assert.equal(answer.choices[0].finish_reason, 'stop');
  assert.equal(answer.choices[0].message.content, whole.slice(0, whole.indexOf(stop)));
});
test('openai stop strings', async () => {
  const whole = await text({max_tokens: 40});
  const stop = [whole.slice(12, 15), 'never seen'];
  assert.equal((await chat({max_tokens: 40, stop})).choices[0].finish_reason, 'stop');
});
test('openai logprobs', async () => {
  const answer = await chat({logprobs: true, top_logprobs: 5});
  const {content} = answer.choices[0].logprobs;
  assert.equal(content.length, 12);
  for (const token of content) assert.equal(token.top_logprobs.length, 5);
});
test('openai logprobs streamed', async () => {
  const chunks = await collect(await chat({logprobs: true, stream: true}));
  assert.equal(chunks.flatMap((c) => c.choices[0].logprobs?.content ?? []).length, 12);
});
test('openai logit_bias', async () => {
  const free = await text();
  assert.notEqual(await text({logit_bias: Object.fromEntries([...Array(900).keys()].map((i) => [i + 300, -100]))}), free);
});
for (const fields of [{presence_penalty: 1}, {frequency_penalty: 2}, {top_p: 0.5, temperature: 1}, {top_k: 5, temperature: 1},
  {min_p: 0.1, temperature: 1}, {repetition_penalty: 1.3}, {user: 'me'}, {metadata: {a: 'b'}}, {store: false},
  {service_tier: 'auto'}, {parallel_tool_calls: true}, {tool_choice: 'none'}, {response_format: {type: 'text'}},
  {max_completion_tokens: 3}, {timings: true}, {cache_prompt: false}, {min_tokens: 3}]) {
  test(`openai takes ${JSON.stringify(fields)}`, async () => assert.ok((await chat(fields)).choices[0].message.content.length));
}
test('openai max_completion_tokens wins', async () =>
  assert.equal((await chat({max_completion_tokens: 3})).usage.completion_tokens, 3));
test('openai system and developer', async () => {
  const with_role = (role) => text({messages: [{role, content: 'Be brief.'}, ...ask]});
  assert.equal(await with_role('system'), await with_role('developer'));
});
test('openai content parts', async () =>
  assert.equal(await text({messages: [{role: 'user', content: [{type: 'text', text: ask[0].content}]}]}), await text()));
test('openai tool history', async () => {
  const messages = [...ask,
    {role: 'assistant', content: null, tool_calls: [{id: 'call_abcdefghijk', type: 'function', function: {name: 'f', arguments: '{}'}}]},
    {role: 'tool', tool_call_id: 'call_abcdefghijk', content: '42'}];
  assert.ok((await chat({messages})).choices[0].message.content);
});
test('openai image is refused', () =>
  refused(chat({messages: [{role: 'user', content: [{type: 'image_url', image_url: {url: 'data:'}}]}]}), 400));
for (const [fields, param] of [[{temperature: 200}, 'temperature'], [{top_p: -1}, 'top_p'], [{n: 0}, 'n'], [{stop: [1]}, 'stop[0]'],
  [{messages: []}, 'messages'], [{logprobs: true, top_logprobs: 30}, 'top_logprobs'], [{logit_bias: {x: 1}}, 'logit_bias'],
  [{response_format: {type: 'json_object'}}, 'response_format'], [{max_tokens: -5}, 'max_tokens'], [{presence_penalty: 9}, 'presence_penalty']]) {
  test(`openai refuses ${JSON.stringify(fields)}`, () =>
    refused(chat(fields), 400, (e) => {
      assert.ok(e instanceof OpenAI.BadRequestError);
      assert.equal(e.param, param);
      assert.equal(e.type, 'invalid_request_error');
    }));
}
test('openai context length', () =>
  refused(chat({messages: [{role: 'user', content: 'word '.repeat(3000)}]}), 400,
    (e) => assert.equal(e.code, 'context_length_exceeded')));
test('openai unknown model', () => refused(chat({model: 'gpt-9'}), 404, (e) => assert.equal(e.code, 'model_not_found')));
test('openai unknown route', () => refused(client.get('/nothing'), 404));
test('openai routing', async () => {
  const answer = await chat({routing: {return: true, encoding: 'arrays'}});
  assert.equal(answer.choices[0].routing.experts[0].length, 4);
});
test('openai completions', async () => {
  const answer = await client.completions.create({model, prompt: 'The file', max_tokens: 5, temperature: 0});
  assert.equal(answer.object, 'text_completion');
  assert.equal(answer.usage.completion_tokens <= 5, true);
});
test('openai completions default of 16 tokens', async () => {
  const answer = await client.completions.create({model, prompt: 'The file', ignore_eos: true});
  assert.equal(answer.usage.completion_tokens, 16);
});
test('openai completions stream', async () => {
  const fields = {model, prompt: 'The file', max_tokens: 9, temperature: 0, ignore_eos: true};
  const chunks = await collect(await client.completions.create({...fields, stream: true}));
  assert.equal(chunks.map((c) => c.choices[0].text).join(''), (await client.completions.create(fields)).choices[0].text);
});
for (const prompt of ['a', ['a', 'b'], [5, 6, 7], [[5, 6], [7]]]) {
  test(`openai completions prompt ${JSON.stringify(prompt)}`, async () => {
    const answer = await client.completions.create({model, prompt, max_tokens: 2});
    assert.equal(answer.choices.length, Array.isArray(prompt) && typeof prompt[0] !== 'number' ? prompt.length : 1);
  });
}
test('openai completions echo and logprobs', async () => {
  const answer = await client.completions.create({model, prompt: 'The file', max_tokens: 2, echo: true, logprobs: 2});
  assert.equal(answer.choices[0].logprobs.token_logprobs[0], null);
  assert.ok(answer.choices[0].text.startsWith('The file'));
});
test('openai embeddings (base64 by default)', async () => {
  const answer = await client.embeddings.create({model, input: 'The file'});
  assert.equal(answer.data[0].embedding.length, 256);
  const floats = await client.embeddings.create({model, input: 'The file', encoding_format: 'float'});
  floats.data[0].embedding.forEach((x, i) => assert.ok(Math.abs(x - answer.data[0].embedding[i]) < 1e-5));
});
test('openai embeddings of several', async () => {
  const answer = await client.embeddings.create({model, input: ['a', 'b', 'c']});
  assert.deepEqual(answer.data.map((d) => d.index), [0, 1, 2]);
});
test('openai many at once', async () => {
  const alone = await Promise.all([1, 2, 3].map((seed) => text({seed, temperature: 1})));
  const all = await Promise.all([...Array(24).keys()].map((i) => text({seed: (i % 3) + 1, temperature: 1})));
  all.forEach((t, i) => assert.equal(t, alone[i % 3]));
});
test('openai timeout aborts', () =>
  assert.rejects(chat({max_tokens: 450, n: 8}, {timeout: 20}), (e) => e instanceof OpenAI.APIConnectionTimeoutError));
