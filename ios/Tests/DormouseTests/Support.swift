import Foundation
import Testing

@testable import Dormouse

/// All suites, one test after the other: some measure memory or time, one sets the logger.
@Suite(.serialized) enum All {}

/// Whether the long forms of the tests were asked for.
let long = ProcessInfo.processInfo.environment["DORMOUSE_LONG"] == "1"

#if os(Linux)
  /// Whether the library panics when it is asked to: that of `cargo xtask bindings` does, what is
  /// shipped does not.
  let provokesPanics = true
#else
  /// Whether the library panics when it is asked to: that of `cargo xtask bindings` does, what is
  /// shipped does not.
  let provokesPanics = ProcessInfo.processInfo.environment["DORMOUSE_PROVOKES_PANICS"] == "1"
#endif

/// `full` in the long form, a tenth otherwise.
func share(_ full: Int) -> Int { long ? full : full / 10 }

/// Something that the tests need is missing.
struct Missing: Error, CustomStringConvertible {
  let description: String
}

/// A model of those that the engine's example `tiny_models` writes.
func tinyModel(_ name: String) throws -> ModelSource {
  guard let folder = ProcessInfo.processInfo.environment["DORMOUSE_TINY_MODELS"] else {
    throw Missing(
      description: "DORMOUSE_TINY_MODELS is to name the folder that "
        + "`cargo run -p dormouse --example tiny_models -- FOLDER` has written")
  }
  let path = "\(folder)/\(name)"
  guard FileManager.default.fileExists(atPath: path) else {
    throw Missing(description: "there is no \(path)")
  }
  return .path(path)
}

/// The model whose replies depend on a word in the last message alone.
func scripted(_ options: LoadOptions = LoadOptions()) async throws -> Model {
  try await Dormouse.load(try tinyModel("scripted.gguf"), options: options)
}

/// The model that says random things.
func tiny(_ options: LoadOptions = LoadOptions()) async throws -> Model {
  try await Dormouse.load(try tinyModel("tiny.gguf"), options: options)
}

func bytes(of source: ModelSource) throws -> Data {
  guard case .path(let path) = source else { throw Missing(description: "not a path") }
  return try Data(contentsOf: URL(fileURLWithPath: path))
}

/// A folder that is gone after `work`.
func withFolder<T>(_ work: (URL) async throws -> T) async throws -> T {
  let folder = FileManager.default.temporaryDirectory
    .appendingPathComponent("dormouse-\(UUID().uuidString)")
  try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
  defer { try? FileManager.default.removeItem(at: folder) }
  return try await work(folder)
}

/// Does `work` until it comes out as wanted: on a machine with other work a task may not have its turn
/// for as long as the work beside it takes.
func until(_ work: () async throws -> Bool) async throws {
  for _ in 0..<20 {
    if try await work() { return }
  }
  throw Missing(description: "never in 20 tries")
}

/// The events of a stream, neighbouring texts of a kind put together.
func joined(_ stream: ReplyStream) async throws -> [Event] {
  var events: [Event] = []
  for try await event in stream {
    switch (events.last, event) {
    case (.token(let before), .token(let text)):
      events[events.count - 1] = .token(before + text)
    case (.reasoning(let before), .reasoning(let text)):
      events[events.count - 1] = .reasoning(before + text)
    default:
      events.append(event)
    }
  }
  return events
}

/// The metrics and the reason of the end, which must be the last event.
func end(of events: [Event]) throws -> (metrics: Metrics, finishReason: FinishReason) {
  guard case .done(let metrics, let finishReason, _) = events.last else {
    throw Missing(description: "the last event is not the end")
  }
  return (metrics, finishReason)
}

/// The error of the API that `work` fails with.
func failure<T>(_ work: () async throws -> T) async throws -> DormouseError {
  do {
    _ = try await work()
  } catch let error as DormouseError {
    return error
  }
  throw Missing(description: "no error")
}

/// What a tool for the scripted model's `weather` looks like.
let weather = Tool(
  name: "get_weather", description: "Weather in a city",
  parameters:
    #"{"type":"object","properties":{"city":{"type":"string"}},"required":["city"]}"#)

#if os(Linux)
  let tellsResidentMemory = true

  /// Bytes that the process has resident.
  func residentMemory() throws -> Int {
    let statm = try String(contentsOfFile: "/proc/self/statm", encoding: .utf8)
    let fields = statm.split(separator: " ")
    guard fields.count > 1, let pages = Int(fields[1]) else {
      throw Missing(description: "statm is not understood")
    }
    return pages * Int(sysconf(Int32(_SC_PAGESIZE)))
  }
#else
  let tellsResidentMemory = false

  func residentMemory() throws -> Int {
    throw Missing(description: "no resident memory on this system")
  }
#endif

/// A value that tasks share.
final class Shared<Value>: @unchecked Sendable {
  private let lock = NSLock()
  private var value: Value

  init(_ value: Value) { self.value = value }

  func with<T>(_ work: (inout Value) throws -> T) rethrows -> T {
    lock.lock()
    defer { lock.unlock() }
    return try work(&value)
  }
}
