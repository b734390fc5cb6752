// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict';
import {test} from 'node:test';
import {createOpenAICompatible} from '@ai-sdk/openai-compatible';
import {embed, embedMany, generateText, streamText} from 'ai';
import {ask, collect, key, model, url} from './support.mjs';

const provider = createOpenAICompatible({name: 'mixtral', baseURL: url + '/v1', apiKey: key, includeUsage: true});
const chat = provider(model);
const options = {model: chat, prompt: ask[0].content, maxOutputTokens: 10, temperature: 0, maxRetries: 0};

test('ai generateText', async () => {
  const answer = await generateText(options);
  assert.ok(answer.text.length > 0);
  assert.ok(['length', 'stop'].includes(answer.finishReason));
  assert.ok(answer.usage.inputTokens > 0);
});
test('ai generateText with system and messages', async () => {
  const answer = await generateText({...options, prompt: undefined, system: 'Be brief.', messages: ask});
  assert.ok(answer.text.length > 0);
});
test('ai streamText', async () => {
  const result = streamText(options);
  const parts = await collect(result.textStream);
  assert.equal(parts.join(''), (await generateText(options)).text);
  assert.ok((await result.usage).outputTokens > 0);
});
test('ai streamText full stream', async () => {
  const types = (await collect(streamText(options).fullStream)).map((part) => part.type);
  assert.ok(types.includes('text-delta') && types.includes('finish'));
});
for (const extra of [{seed: 1}, {topP: 0.9}, {stopSequences: ['xyz']}, {presencePenalty: 1}, {frequencyPenalty: 1}]) {
  test(`ai takes ${JSON.stringify(extra)}`, async () => assert.ok((await generateText({...options, ...extra})).text));
}
test('ai error', () => assert.rejects(generateText({...options, model: provider('none')}), (e) => e.statusCode === 404));
test('ai stream error', async () => {
  let seen;
  const result = streamText({...options, model: provider('none'), onError: ({error}) => (seen = error)});
  await result.consumeStream();
  assert.equal(seen.statusCode, 404);
});
test('ai abort', async () => {
  const controller = new AbortController();
  const result = streamText({...options, maxOutputTokens: 400, abortSignal: controller.signal});
  for await (const part of result.fullStream) if (part.type === 'text-delta') controller.abort();
});
test('ai completion model', async () =>
  assert.ok((await generateText({...options, model: provider.completionModel(model)})).text));
test('ai embed', async () =>
  assert.equal((await embed({model: provider.textEmbeddingModel(model), value: 'The file'})).embedding.length, 256));
test('ai embedMany', async () =>
  assert.equal((await embedMany({model: provider.textEmbeddingModel(model), values: ['a', 'b']})).embeddings.length, 2));
