// api GRAPH...: prints the public API of symbol graphs as text, one declaration a line.
//
// A graph tells a declaration in pieces, and what a type conforms to apart from it; both are put
// together here, in an order that depends on names alone, so that a difference between two dumps is
// a difference between two APIs.

import Foundation

struct Graph: Decodable {
  let symbols: [Symbol]
  let relationships: [Relationship]
}

struct Symbol: Decodable {
  struct Identifier: Decodable { let precise: String }
  struct Piece: Decodable { let spelling: String }

  let identifier: Identifier
  let pathComponents: [String]
  let declarationFragments: [Piece]

  var declaration: String {
    declarationFragments.map(\.spelling).joined().split(whereSeparator: \.isWhitespace)
      .joined(separator: " ")
  }
}

struct Relationship: Decodable {
  let kind: String
  let source: String
  let target: String
  let targetFallback: String?
}

/// What the compiler adds to types by itself, depending on its version.
let implied: Set<String> = ["Copyable", "Escapable", "SendableMetatype"]

var symbols: [String: Symbol] = [:]
var conformances: [String: Set<String>] = [:]
for path in CommandLine.arguments.dropFirst() {
  let data = try Data(contentsOf: URL(fileURLWithPath: path))
  let graph = try JSONDecoder().decode(Graph.self, from: data)
  for symbol in graph.symbols {
    symbols[symbol.identifier.precise] = symbol
  }
  for relation in graph.relationships where relation.kind == "conformsTo" {
    // Which module of the system has a protocol differs between systems.
    let name = (relation.targetFallback ?? relation.target).split(separator: ".").last ?? ""
    conformances[relation.source, default: []].insert(String(name))
  }
}
let lines = symbols.map { precise, symbol in
  let conforms = conformances[precise, default: []].subtracting(implied).sorted()
  let line = "\(symbol.pathComponents.joined(separator: ".")): \(symbol.declaration)"
  return conforms.isEmpty ? line : "\(line)  // \(conforms.joined(separator: ", "))"
}
for line in Set(lines).sorted() {
  print(line)
}
