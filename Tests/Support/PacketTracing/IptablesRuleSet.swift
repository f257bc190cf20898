import NetTypes
import Netlink

/// The rules of iptables for one family that packets can be sent through, read from the text of `iptables-save` or of
/// `iptables -S`.
public struct IptablesRuleSet: TracedRules {
  /// The family of the program that printed the text.
  public let family: AddressFamily
  /// Rules by table and chain.
  private var rules: [String: [String: [IptablesLine]]] = [:]
  /// Policies of the built-in chains, by `table chain`; ACCEPT where none is given.
  private var drops: Set<String> = []
  /// Addresses on the lists of `-m recent`, with the time they were last seen.
  private var recent: [String: [IPAddress: UInt64]] = [:]

  private static let hooks: [(String, NftHook)] = [
    ("PREROUTING", .prerouting), ("INPUT", .input), ("FORWARD", .forward), ("OUTPUT", .output),
    ("POSTROUTING", .postrouting),
  ]

  /// Reads `*table`, `:CHAIN`, `-P`, `-N` and `-A` lines; of a chain line only the policy matters.
  /// - Parameter table: the table of lines before any `*table`.
  public init(_ family: AddressFamily, _ text: String, table: String = "filter") throws(TraceError) {
    self.family = family
    var table = table
    for line in text.split(separator: "\n").map(String.init) {
      let words = line.split(separator: " ").map(String.init)
      switch line.first {
      case "*": table = String(line.dropFirst())
      case ":": define(table, String(words[0].dropFirst()), words.count > 1 ? words[1] : "-")
      case "-" where words[0] == "-P" && words.count == 3: define(table, words[1], words[2])
      case "-" where words[0] == "-N" && words.count == 2: define(table, words[1], "-")
      case "-":
        let rule = try IptablesLine(line)
        rules[table, default: [:]][rule.chain, default: []].append(rule)
      default: break
      }
    }
  }

  private mutating func define(_ table: String, _ chain: String, _ policy: String) {
    if rules[table]?[chain] == nil { rules[table, default: [:]][chain] = [] }
    if policy == "DROP" { drops.insert("\(table) \(chain)") }
  }

  /// The built-in chains that the text names.
  public func baseChains(at hook: NftHook, _ family: AddressFamily) -> [TracedChain] {
    guard family == self.family, let name = Self.hooks.first(where: { $0.1 == hook })?.0 else { return [] }
    return rules.compactMap { table, chains in
      chains[name] == nil
        ? nil : TracedChain(id: "\(table) \(name)", priority: Self.priority(table, hook), isNAT: table == "nat")
    }
  }

  private static func priority(_ table: String, _ hook: NftHook) -> Int32 {
    switch table {
    case "raw": -300
    case "mangle": -150
    case "nat": hook == .prerouting || hook == .output ? -100 : 100
    case "security": 50
    default: 0
    }
  }

  /// Walks the chain and those it jumps to.
  public mutating func run(
    _ chain: TracedChain, _ trace: inout Trace, _ host: TracedHost
  ) throws(TraceError) -> TraceVerdict {
    let parts = chain.id.split(separator: " ").map(String.init)
    let verdict = try walk(parts[0], parts[1], &trace, host, depth: 0)
    return verdict ?? (drops.contains(chain.id) ? .drop : .accept)
  }

  /// nil = the end of the chain, or a return.
  private mutating func walk(
    _ table: String, _ chain: String, _ trace: inout Trace, _ host: TracedHost, depth: Int
  ) throws(TraceError) -> TraceVerdict? {
    guard depth < 64 else { throw TraceError("too many jumps in \(trace.path)") }
    guard let list = rules[table]?[chain] else { throw TraceError("no chain \(chain) in table \(table)") }
    trace.path.append("\(table) \(chain)")
    for rule in list where matches(rule, trace, host) {
      switch rule.target {
      case .none: continue
      case .accept: return .accept
      case .drop: return .drop
      case .reject: return .reject
      case .return: return nil
      case .mark(let clear, let flip): trace.packet.mark = trace.packet.mark & ~clear ^ flip
      case .masquerade(let fullyRandom):
        trace.source = .masquerade(fullyRandom: fullyRandom)
        return .accept
      case .snat(let address):
        trace.source = .address(address)
        return .accept
      case .dnat(let address, let port):
        trace.translate(to: address, port)
        return .accept
      case .jump(let name):
        if let verdict = try walk(table, name, &trace, host, depth: depth + 1) { return verdict }
      case .goto(let name): return try walk(table, name, &trace, host, depth: depth + 1)
      }
    }
    return nil
  }

  /// Tests from left to right; what is behind the first that fails has no effect.
  private mutating func matches(_ rule: IptablesLine, _ trace: Trace, _ host: TracedHost) -> Bool {
    for match in rule.matches where test(match.kind, trace, host) == match.isInverted { return false }
    return true
  }

  private mutating func test(_ kind: IptablesLine.Kind, _ trace: Trace, _ host: TracedHost) -> Bool {
    let packet = trace.packet
    switch kind {
    case .source(let prefix): return prefix.contains(packet.source)
    case .destination(let prefix): return prefix.contains(packet.destination)
    case .input(let name): return Self.isNamed(packet.input, name)
    case .output(let name): return Self.isNamed(packet.output, name)
    case .protocolNumber(let p): return packet.protocolNumber == p
    case .sourcePorts(let list): return list.contains { $0.contains(packet.sourcePort) }
    case .destinationPorts(let list): return list.contains { $0.contains(packet.destinationPort) }
    case .mark(let value, let mask): return packet.mark & mask == value
    case .sourceType(let type): return host.addressType(packet.source) == type
    case .destinationType(let type): return host.addressType(packet.destination) == type
    case .states(let names):
      return names.contains(packet.state.name) || names.contains("DNAT") && trace.destination != nil
        || names.contains("SNAT") && trace.source != nil
    case .sourceMAC(let mac): return packet.sourceMAC == mac
    // 1 stands for what always matches and takes no random number.
    case .probability(let p): return p >= 1 || host.random() < p
    case .recent(let list):
      if list.isSet {
        recent[list.name, default: [:]][packet.source] = host.now
        return true
      }
      guard let seen = recent[list.name]?[packet.source] else { return false }
      return list.seconds.map { host.now - seen < $0 * 1000 } ?? true
    }
  }

  /// `eth+` stands for every name that starts like that.
  private static func isNamed(_ name: String, _ pattern: String) -> Bool {
    pattern.hasSuffix("+") ? name.hasPrefix(pattern.dropLast()) : name == pattern
  }
}
