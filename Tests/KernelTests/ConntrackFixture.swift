import NetTypes
import Netlink
import Syscalls
import TestSupport

/// A namespace with a table of connections, filled by `conntrack` and by real traffic; the oracle is `conntrack -L`.
final class ConntrackFixture: Sendable {
  let ns: TestNamespace

  init(_ tag: String) throws { ns = try TestNamespace(tag) }

  func socket() throws -> ConntrackSocket { try ConntrackSocket(in: ns.open()) }

  /// Runs `conntrack`; what it printed.
  @discardableResult
  func conntrack(_ arguments: String, input: String = "") throws -> String {
    let words = arguments.split(separator: " ").map(String.init)
    let output = try ns.run("/usr/sbin/conntrack", words, input: Array(input.utf8))
    guard output.exit.isSuccess else { throw TestFailure("conntrack \(arguments): \(output.errorText)") }
    return output.text
  }

  /// Connections are tracked only where a rule needs it. Packets and bytes are counted, times are kept.
  func trackTraffic() throws {
    for name in ["nf_conntrack_acct", "nf_conntrack_timestamp"] {
      _ = try ns.run("/usr/sbin/sysctl", ["-qw", "net.netfilter.\(name)=1"])
    }
    for program in ["iptables", "ip6tables"] {
      let rule = ["-A", "INPUT", "-m", "conntrack", "--ctstate", "NEW"]
      let output = try ns.run("/usr/sbin/\(program)", rule)
      guard output.exit.isSuccess else { throw TestFailure("\(program): \(output.errorText)") }
    }
  }

  /// Makes connections of UDP from 10.1.x.y to a port each.
  func load(udp count: Int, to destination: String = "10.2.0.2", port: Int = 53) throws {
    let lines = (0..<count).map {
      "-A -t 3000 -p udp -s 10.1.\($0 >> 14).1 -d \(destination) --sport \(1 + $0 & 0x3fff) --dport \(port)\n"
    }
    try conntrack("-R -", input: lines.joined())
  }

  /// What `conntrack -L` lists with these arguments.
  func list(_ arguments: String = "") throws -> [ConntrackEntry] {
    try conntrack("-L \(arguments) -o extended,id").split(separator: "\n").map { try Self.parse($0) }
  }

  /// What we list.
  func ours(_ filter: ConntrackFilter = .init()) throws -> [ConntrackEntry] {
    var socket = try socket()
    var out: [ConntrackEntry] = []
    try socket.dump(filter) { out.append($0) }
    return out
  }
}

extension ConntrackFixture {
  /// Reads a line of `conntrack -L -o extended,id`:
  /// `ipv4 2 tcp 6 431999 ESTABLISHED src=… dst=… sport=… dport=… [UNREPLIED] src=… … [ASSURED] mark=0 use=1 id=…`
  private static func parse(_ line: Substring) throws -> ConntrackEntry {
    let words = line.split(separator: " ")
    guard words.count > 5, let number = UInt8(words[3]) else { throw TestFailure("cannot read \(line)") }
    var directions: [Fields] = []
    var rest: [Substring: Substring] = [:]
    var state: ConntrackState?
    var status: ConntrackStatus = .seenReply
    for word in words[4...] {
      let parts = word.split(separator: "=", maxSplits: 1)
      if word == "[UNREPLIED]" {
        status.remove(.seenReply)
      } else if word == "[ASSURED]" {
        status.insert(.assured)
      } else if parts.count == 2 {
        if parts[0] == "src" { directions.append([:]) }
        // Of ICMP both directions have an id, and the entry another one, at the end.
        if rest["mark"] != nil || ["mark", "zone", "use"].contains(parts[0]) {
          rest[parts[0]] = parts[1]
        } else {
          directions[directions.count - 1][parts[0]] = parts[1]
        }
      } else if directions.isEmpty, UInt32(word) == nil {
        state = [6: .tcp, 33: .dccp, 132: .sctp][number].flatMap { ConntrackState($0, named: String(word)) }
      }
    }
    guard directions.count == 2 else { throw TestFailure("cannot read \(line)") }
    return ConntrackEntry(
      id: rest["id"].flatMap { UInt32($0) } ?? 0, original: try tuple(directions[0], number),
      reply: try tuple(directions[1], number), status: status, timeout: UInt32(words[4]),
      mark: rest["mark"].flatMap { UInt32($0) } ?? 0, use: rest["use"].flatMap { UInt32($0) }, state: state,
      zone: rest["zone"].flatMap { UInt16($0) } ?? 0, originalCounters: counters(directions[0]),
      replyCounters: counters(directions[1]))
  }

  private typealias Fields = [Substring: Substring]

  private static func tuple(_ fields: Fields, _ number: UInt8) throws -> ConntrackTuple {
    guard let source = fields["src"].flatMap({ IPAddress($0) }),
      let destination = fields["dst"].flatMap({ IPAddress($0) })
    else { throw TestFailure("no addresses in \(fields)") }
    func value<T: FixedWidthInteger>(_ name: Substring) -> T? {
      fields[name].flatMap { $0.hasPrefix("0x") ? T($0.dropFirst(2), radix: 16) : T($0) }
    }
    var selector = ConntrackTuple.Selector.none
    if let source: UInt16 = value("sport") ?? value("srckey"),
      let destination: UInt16 = value("dport") ?? value("dstkey")
    {
      selector = .ports(source: source, destination: destination)
    } else if let type: UInt8 = value("type"), let code: UInt8 = value("code"), let id: UInt16 = value("id") {
      selector = .icmp(type: type, code: code, id: id)
    }
    return ConntrackTuple(
      source: source, destination: destination, transport: number, selector: selector,
      zone: value("zone-orig") ?? value("zone-reply") ?? 0)
  }

  private static func counters(_ fields: Fields) -> ConntrackEntry.Counters? {
    guard let packets = fields["packets"].flatMap({ UInt64($0) }), let bytes = fields["bytes"].flatMap({ UInt64($0) })
    else { return nil }
    return .init(packets: packets, bytes: bytes)
  }
}
