import JSON
import NetTypes

/// What became of the packets from one pod to an address of another.
public struct PingPair: Hashable, Sendable {
  /// The sender.
  public var from: PodName
  /// The pod the address belongs to.
  public var to: PodName
  /// The address.
  public var destination: IPAddress
  /// Packets sent.
  public var sent = 0
  /// Round trips of the packets that were answered, nanoseconds, in order of arrival.
  public var roundTrips: [Int64] = []
  /// The last error that came back or that the kernel gave.
  public var error: String?
  /// The first broken link on the way, when packets were lost.
  public var cause: String?

  /// Nothing sent yet.
  public init(from: PodName, to: PodName, destination: IPAddress) {
    self.from = from
    self.to = to
    self.destination = destination
  }

  /// Packets answered.
  public var received: Int { roundTrips.count }
  /// True when every packet was answered.
  public var isComplete: Bool { sent > 0 && received == sent }
  /// Nanoseconds; the lower one of two middle values.
  public var median: Int64? { roundTrips.isEmpty ? nil : roundTrips.sorted()[(roundTrips.count - 1) / 2] }
  /// Nanoseconds.
  public var maximum: Int64? { roundTrips.max() }
}

/// The result of `ping`.
///
/// As JSON: `sent`, `received`, `lost`, `medianMicroseconds`, `maxMicroseconds` (null without an answer) and `pairs`,
/// whose members are `from`, `to`, `address`, `sent`, `received`, `medianMicroseconds`, `maxMicroseconds`, `error` (or
/// null) and `cause` (or null).
public struct PingReport: Hashable, Sendable {
  /// Every ordered pair of pods and every address of the second one.
  public var pairs: [PingPair]
  /// Pods that could not even send, and why.
  public var problems: [String]

  /// As measured.
  public init(pairs: [PingPair], problems: [String] = []) {
    self.pairs = pairs
    self.problems = problems
  }

  /// Packets sent.
  public var sent: Int { pairs.reduce(0) { $0 + $1.sent } }
  /// Packets answered.
  public var received: Int { pairs.reduce(0) { $0 + $1.received } }
  /// True when every packet was answered and every pod could send.
  public var isComplete: Bool { problems.isEmpty && pairs.allSatisfy(\.isComplete) }

  /// The document of `ping --json`.
  public var json: JSONValue {
    let all = pairs.flatMap(\.roundTrips).sorted()
    return .object(
      JSONObject([
        ("sent", .integer(sent)), ("received", .integer(received)), ("lost", .integer(sent - received)),
        ("medianMicroseconds", Self.microseconds(all.isEmpty ? nil : all[(all.count - 1) / 2])),
        ("maxMicroseconds", Self.microseconds(all.last)),
        ("problems", .array(problems.map { .string($0) })),
        ("pairs", .array(pairs.map(Self.json))),
      ]))
  }

  private static func json(_ p: PingPair) -> JSONValue {
    .object(
      JSONObject([
        ("from", .string(p.from.description)), ("to", .string(p.to.description)),
        ("address", .string(p.destination.description)), ("sent", .integer(p.sent)),
        ("received", .integer(p.received)), ("medianMicroseconds", microseconds(p.median)),
        ("maxMicroseconds", microseconds(p.maximum)), ("error", p.error.map { .string($0) } ?? .null),
        ("cause", p.cause.map { .string($0) } ?? .null),
      ]))
  }

  private static func microseconds(_ nanoseconds: Int64?) -> JSONValue {
    nanoseconds.map { .integer(($0 + 500) / 1000) } ?? .null
  }

  /// Milliseconds with two decimals: `0.07`.
  static func milliseconds(_ nanoseconds: Int64) -> String {
    let hundredths = (max(0, nanoseconds) + 5000) / 10_000
    let rest = hundredths % 100
    return "\(hundredths / 100).\(rest < 10 ? "0" : "")\(rest)"
  }

  /// The matrix of one family: a row per sender, a column per receiver; a cell is `median/max` in milliseconds, or the
  /// share of packets that were lost.
  public func matrix(_ family: AddressFamily) -> Table? {
    let mine = pairs.filter { $0.destination.family == family }
    guard !mine.isEmpty else { return nil }
    let pods = Set(mine.flatMap { [$0.from, $0.to] }).sorted()
    var cells: [PodName: [PodName: PingPair]] = [:]
    for p in mine { cells[p.from, default: [:]][p.to] = p }
    var table = Table(
      ["FROM \\ TO"] + pods.map(\.description), alignments: [.left] + pods.map { _ in .right })
    for from in pods {
      table.rows.append(
        [from.description] + pods.map { to in cells[from]?[to].map(Self.cell) ?? (from == to ? "." : "-") })
    }
    return table
  }

  static func cell(_ p: PingPair) -> String {
    guard p.isComplete, let median = p.median, let maximum = p.maximum else {
      return p.sent == 0 ? "unsent" : "\((p.sent - p.received) * 100 / p.sent)% lost"
    }
    return "\(milliseconds(median))/\(milliseconds(maximum))"
  }

  /// One line: packets, loss, round trips.
  public var summary: String {
    let all = pairs.flatMap(\.roundTrips).sorted()
    let percent = sent == 0 ? 0 : (sent - received) * 100 / sent
    var text = "\(sent) packets sent, \(received) answered, \(sent - received) lost (\(percent)%)"
    if !all.isEmpty, let last = all.last {
      text += ", round trip median \(Self.milliseconds(all[(all.count - 1) / 2])) ms, max \(Self.milliseconds(last)) ms"
    }
    return text
  }

  /// What went wrong, a line per distinct cause, with the pairs it struck.
  public var failures: [String] {
    var order: [String] = []
    var pairsByCause: [String: [PingPair]] = [:]
    for p in pairs where !p.isComplete {
      let cause = p.cause ?? p.error ?? "no answer"
      if pairsByCause[cause] == nil { order.append(cause) }
      pairsByCause[cause, default: []].append(p)
    }
    return problems
      + order.map { cause in
        let struck = pairsByCause[cause] ?? []
        var seen = Set<String>()
        let ways = struck.map { "\($0.from) to \($0.to)" }.filter { seen.insert($0).inserted }
        return "\(cause) (\(list(ways)))"
      }
  }
}
