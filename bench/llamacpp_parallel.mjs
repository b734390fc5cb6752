// SPDX-License-Identifier: Apache-2.0
// Many sequences at once in llama.cpp (the prebuilt library of the npm package node-llama-cpp), for bench/compare_llamacpp.
//   node llamacpp_parallel.mjs PACKAGE_DIR MODEL.gguf PROMPTS_JSON N_DECODE THREADS
// PROMPTS_JSON: one array of token ids for each sequence. All prompts are computed first; timed is what follows, until every
// sequence has N_DECODE tokens. Prints {"decode": tokens/s of all together}.
import path from "path";
import {pathToFileURL} from "url";

const [, , packageDir, modelPath, promptsJson, nDecodeText, threads] = process.argv;
const entry = path.join(packageDir, "node_modules", "node-llama-cpp", "dist", "index.js");
const {getLlama} = await import(pathToFileURL(entry));
const llama = await getLlama({gpu: false, build: "never", logLevel: "error", maxThreads: Number(threads)});
const model = await llama.loadModel({modelPath, gpuLayers: 0, useMmap: true});
const prompts = JSON.parse(promptsJson), nDecode = Number(nDecodeText);
const longest = Math.max(...prompts.map((ids) => ids.length));
const context = await model.createContext({
    sequences: prompts.length, contextSize: longest + nDecode + 64, batchSize: 512, threads: Number(threads),
    flashAttention: true, batching: {dispatchSchedule: "nextCycle", itemPrioritizationStrategy: "maximumParallelism"}});
const sequences = prompts.map(() => context.getSequence());
await Promise.all(prompts.map((ids, i) => sequences[i].evaluateWithoutGeneratingNewTokens(ids.slice(0, -1))));

async function decode(ids, sequence) {
    let count = 0;
    for await (const _ of sequence.evaluate(ids.slice(-1), {temperature: 0}))
        if (++count >= nDecode) return count;
    throw new Error(`expected ${nDecode} tokens, found ${count}`);
}
const begin = performance.now();
const counts = await Promise.all(prompts.map((ids, i) => decode(ids, sequences[i])));
const seconds = (performance.now() - begin) / 1e3;
console.log(JSON.stringify({decode: counts.reduce((a, b) => a + b) / seconds}));
process.exit(0);
