import { createSchema, createYoga } from "graphql-yoga";

const yoga = createYoga({
  graphqlEndpoint: "/sessions/graphql-yoga/s/graphql",
  logging: false,
  // Else it answers with an object of a class of its own.
  fetchAPI: { Request, Response },
  schema: createSchema({
    typeDefs: "type Query { hello(name: String!): String! }",
    resolvers: { Query: { hello: (_, { name }) => `hello ${name}` } },
  }),
});

export const use = (request) => yoga.fetch(request);
