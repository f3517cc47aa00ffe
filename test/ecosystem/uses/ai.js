import { simulateReadableStream, streamText } from "ai";
import * as mocks from "ai/test";

const usage = {
  inputTokens: { total: 1, noCache: 1, cacheRead: 0, cacheWrite: 0 },
  outputTokens: { total: 1, text: 1, reasoning: 0 },
};
const Model = mocks.MockLanguageModelV4 ?? mocks.MockLanguageModelV3;
const model = new Model({
  doStream: async () => ({
    stream: simulateReadableStream({
      chunks: [
        { type: "text-start", id: "1" },
        { type: "text-delta", id: "1", delta: "Hello" },
        { type: "text-delta", id: "1", delta: ", world" },
        { type: "text-end", id: "1" },
        { type: "finish", finishReason: { unified: "stop", raw: undefined }, usage },
      ],
    }),
  }),
});

export const use = () => streamText({ model, prompt: "hello" }).toTextStreamResponse();
