// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict';
import {test} from 'node:test';
import {AIMessage, HumanMessage, SystemMessage} from '@langchain/core/messages';
import {ChatPromptTemplate} from '@langchain/core/prompts';
import {StringOutputParser} from '@langchain/core/output_parsers';
import {ChatOpenAI, OpenAI, OpenAIEmbeddings} from '@langchain/openai';
import {collect, key, model, url} from './support.mjs';

const common = {model, apiKey: key, maxRetries: 0, configuration: {baseURL: url + '/v1'}};
const chat = new ChatOpenAI({...common, temperature: 0, maxTokens: 10});

test('langchain invoke', async () => {
  const answer = await chat.invoke('How do I print?');
  assert.ok(answer.content.length > 0);
  assert.ok(answer.usage_metadata.input_tokens > 0);
});
test('langchain messages', async () =>
  assert.ok((await chat.invoke([new SystemMessage('Be brief.'), new HumanMessage('a'), new AIMessage('b'), new HumanMessage('c')])).content));
test('langchain stream', async () => {
  const chunks = await collect(await chat.stream('How do I print?'));
  assert.equal(chunks.map((c) => c.content).join(''), (await chat.invoke('How do I print?')).content);
  assert.ok(chunks.some((c) => c.usage_metadata));
});
test('langchain batch', async () => assert.equal((await chat.batch(['a', 'b', 'c'])).length, 3));
test('langchain chain', async () => {
  const chain = ChatPromptTemplate.fromMessages([['system', 'You know {thing}.'], ['human', '{question}']])
    .pipe(chat).pipe(new StringOutputParser());
  assert.equal(typeof await chain.invoke({thing: 'files', question: 'How?'}), 'string');
});
test('langchain stop', async () => assert.ok((await chat.invoke('How?', {stop: ['zzz']})).content));
test('langchain error', () => assert.rejects(new ChatOpenAI({...common, model: 'none'}).invoke('x')));
test('langchain completion', async () =>
  assert.equal(typeof await new OpenAI({...common, maxTokens: 5}).invoke('The file'), 'string'));
test('langchain embeddings', async () => {
  const embeddings = new OpenAIEmbeddings(common);
  assert.equal((await embeddings.embedQuery('The file')).length, 256);
  assert.equal((await embeddings.embedDocuments(['a', 'b'])).length, 2);
});
