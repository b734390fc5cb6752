// SPDX-License-Identifier: Apache-2.0
// One timed run of llama.cpp (the prebuilt library of the npm package node-llama-cpp), for bench/compare_llamacpp.
//   node llamacpp_speed.mjs PACKAGE_DIR MODEL.gguf PROMPT_IDS_JSON N_DECODE THREADS
// Prints {"prefill": tokens/s, "decode": tokens/s}.
import path from "path";
import {pathToFileURL} from "url";

const [, , packageDir, modelPath, idsJson, nDecode, threads] = process.argv;
const entry = path.join(packageDir, "node_modules", "node-llama-cpp", "dist", "index.js");
const {getLlama} = await import(pathToFileURL(entry));
const llama = await getLlama({gpu: false, build: "never", logLevel: "error", maxThreads: Number(threads)});
const model = await llama.loadModel({modelPath, gpuLayers: 0, useMmap: true});
const ids = JSON.parse(idsJson);
const context = await model.createContext({
    contextSize: ids.length + Number(nDecode) + 64, batchSize: 512, threads: Number(threads), flashAttention: true});
const sequence = context.getSequence();

const begin = performance.now();
await sequence.evaluateWithoutGeneratingNewTokens(ids.slice(0, -1));
const middle = performance.now();
let count = 0;
for await (const _ of sequence.evaluate(ids.slice(-1), {temperature: 0})) {
    if (++count >= Number(nDecode)) break;
}
const end = performance.now();
console.log(JSON.stringify({
    prefill: (ids.length - 1) / (middle - begin) * 1e3,
    decode: count / (end - middle) * 1e3}));
process.exit(0);
