import NetTypes
import Netlink

/// An nf_tables rule set that packets can be sent through: made of our own rules, or read from the kernel.
public struct NftRuleSet: TracedRules {
  struct Key: Hashable {
    var table: NftTable.ID
    var name: String
  }
  struct Chain {
    var chain: NftChain
    var rules: [NftRule] = []
  }
  struct Contents {
    var set: NftSet
    var elements: [NftElement] = []
  }

  var chains: [Key: Chain] = [:]
  var sets: [Key: Contents] = [:]

  /// Without any rule: everything is accepted.
  public init() {}

  /// Everything that is loaded where the socket is.
  public init(reading socket: inout NftSocket) throws {
    for table in try socket.tables() where !(table.flags & 1 == 1) {
      for chain in try socket.chains(table.id) { add(chain, rules: try socket.rules(table.id, chain: chain.name)) }
      for set in try socket.sets(table.id) { add(set, try socket.elements(of: set.name, table.id)) }
    }
  }

  /// Adds a chain with its rules.
  public mutating func add(_ chain: NftChain, rules: [NftRule] = []) {
    chains[Key(table: chain.table, name: chain.name)] = Chain(chain: chain, rules: rules)
  }

  /// Adds a set or map.
  public mutating func add(_ set: NftSet, _ elements: [NftElement] = []) {
    sets[Key(table: set.table, name: set.name)] = Contents(set: set, elements: elements)
  }

  /// Those of the tables `ip` or `ip6`, and `inet`.
  public func baseChains(at hook: NftHook, _ family: AddressFamily) -> [TracedChain] {
    let own: NftFamily = family == .ipv4 ? .ipv4 : .ipv6
    return chains.values.compactMap { c in
      guard let base = c.chain.base, base.hook == hook, [own, .inet].contains(c.chain.table.family) else { return nil }
      return TracedChain(id: Self.id(c.chain), priority: base.priority, isNAT: base.type == "nat")
    }
  }

  /// `ip flannel-ipv4 postrtg`
  private static func id(_ chain: NftChain) -> String { "\(chain.table) \(chain.name)" }

  /// Walks the chain and those it jumps to.
  public mutating func run(
    _ chain: TracedChain, _ trace: inout Trace, _ host: TracedHost
  ) throws(TraceError) -> TraceVerdict {
    guard let start = chains.values.first(where: { Self.id($0.chain) == chain.id }) else {
      throw TraceError("no chain \(chain.id)")
    }
    switch try walk(start, &trace, host, depth: 0) {
    case .accept: return .accept
    case .drop: return .drop
    case .reject: return .reject
    case nil: return start.chain.base?.policy == .drop ? .drop : .accept
    }
  }

  /// nil = the end of the chain, or a return.
  private mutating func walk(
    _ chain: Chain, _ trace: inout Trace, _ host: TracedHost, depth: Int
  ) throws(TraceError) -> TraceVerdict? {
    guard depth < 16 else { throw TraceError("too many jumps in \(trace.path)") }
    trace.path.append(Self.id(chain.chain))
    for rule in chain.rules {
      var machine = NftMachine(trace, host)
      try machine.run(rule, &sets)
      trace = machine.trace
      let target: String
      switch machine.outcome {
      case .next: continue
      case .end(let verdict): return verdict
      case .return: return nil
      case .jump(let name), .goto(let name): target = name
      }
      guard let next = chains[Key(table: rule.table, name: target)] else { throw TraceError("no chain \(target)") }
      let verdict = try walk(next, &trace, host, depth: depth + 1)
      if verdict != nil { return verdict }
      if case .goto = machine.outcome { return nil }
    }
    return nil
  }
}
