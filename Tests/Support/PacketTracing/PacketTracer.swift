import NetTypes
import Netlink

/// What happened to a packet.
public struct Trace: Hashable, Sendable {
  /// The end of its way.
  public enum Fate: Hashable, Sendable {
    case accepted, dropped
    /// Dropped with an answer to the sender.
    case rejected
  }

  /// What became of the source address.
  public enum SourceTranslation: Hashable, Sendable {
    /// It becomes an address of the interface that the packet leaves by.
    case masquerade(fullyRandom: Bool)
    case address(IPAddress)
  }

  /// An address and a port.
  public struct Endpoint: Hashable, Sendable, CustomStringConvertible {
    /// Where.
    public var address: IPAddress
    /// nil = the packet's own.
    public var port: UInt16?

    /// Both as given.
    public init(_ address: IPAddress, _ port: UInt16?) {
      self.address = address
      self.port = port
    }

    /// `10.0.0.2:80`
    public var description: String { "\(address)\(port.map { ":\($0)" } ?? "")" }
  }

  /// Where its way ended.
  public var fate = Fate.accepted
  /// nil = it kept its own.
  public var source: SourceTranslation?
  /// The new destination; nil = it kept its own.
  public var destination: Endpoint?
  /// The packet at the end, with its mark and the new destination. A masqueraded source is still the old one.
  public var packet: Packet
  /// The chains it went through, in order.
  public var path: [String] = []

  /// A packet at the start of its way.
  public init(_ packet: Packet) { self.packet = packet }

  /// True when the source is translated in whatever way.
  public var isMasqueraded: Bool { if case .masquerade = source { true } else { false } }
}

/// How a base chain ended.
public enum TraceVerdict: Hashable, Sendable {
  case accept, drop, reject
}

/// A base chain of a rule set: where the kernel calls it.
public struct TracedChain: Hashable, Sendable {
  /// Unique in the rule set; what a trace's path shows.
  public var id: String
  /// Lower ones are called earlier.
  public var priority: Int32
  /// Chains of this kind see the first packet of a connection only, and none once its address is translated.
  public var isNAT: Bool

  /// Every field as given.
  public init(id: String, priority: Int32, isNAT: Bool) {
    self.id = id
    self.priority = priority
    self.isNAT = isNAT
  }
}

/// A rule set that packets can be sent through.
public protocol TracedRules {
  /// The base chains for a family at a hook, in any order.
  func baseChains(at hook: NftHook, _ family: AddressFamily) -> [TracedChain]
  /// Sends a packet through one of them.
  mutating func run(_ chain: TracedChain, _ trace: inout Trace, _ host: TracedHost) throws(TraceError) -> TraceVerdict
}

/// Sends packets through the hooks of a host, as the kernel would. Several rule sets may be loaded at once; what they
/// remember (sets, lists of addresses) stays from packet to packet.
public struct PacketTracer {
  /// The host that has the rules.
  public var host: TracedHost
  /// Everything that is loaded.
  public var rules: [any TracedRules]

  /// Both as given.
  public init(_ host: TracedHost, _ rules: [any TracedRules]) {
    self.host = host
    self.rules = rules
  }

  /// One packet on its way: through the host, to it, or from it.
  public mutating func send(_ packet: Packet) throws(TraceError) -> Trace {
    var trace = Trace(packet)
    let first: NftHook = packet.input.isEmpty ? .output : .prerouting
    guard try pass(first, &trace) else { return trace }
    // The destination may be another one by now.
    if first == .prerouting, host.addressType(trace.packet.destination) == 2 {
      trace.packet.output = ""
      _ = try pass(.input, &trace)
      return trace
    }
    if first == .prerouting { guard try pass(.forward, &trace) else { return trace } }
    _ = try pass(.postrouting, &trace)
    return trace
  }

  /// False when the packet's way ends at the hook.
  private mutating func pass(_ hook: NftHook, _ trace: inout Trace) throws(TraceError) -> Bool {
    let family = trace.packet.family
    let chains = rules.indices
      .flatMap { i in rules[i].baseChains(at: hook, family).map { (rules: i, chain: $0) } }
      .sorted { $0.chain.priority < $1.chain.priority }
    let isSource = hook == .postrouting || hook == .input
    for (i, chain) in chains {
      if chain.isNAT, trace.packet.state != .new { continue }
      if chain.isNAT, isSource ? trace.source != nil : trace.destination != nil { continue }
      switch try rules[i].run(chain, &trace, host) {
      case .accept: continue
      case .drop: trace.fate = .dropped
      case .reject: trace.fate = .rejected
      }
      return false
    }
    return true
  }
}

extension Trace {
  /// Gives the packet another destination.
  mutating func translate(to address: IPAddress?, _ port: UInt16?) {
    let new = Endpoint(address ?? packet.destination, port)
    destination = new
    packet.destination = new.address
    if let port { packet.destinationPort = port }
  }
}
