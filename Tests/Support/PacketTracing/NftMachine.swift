import NetTypes
import Netlink

/// The nf_tables machine: carries out the steps of one rule on one packet.
struct NftMachine {
  enum Outcome {
    /// A step did not match, or the rule said nothing about what is next.
    case next
    case `return`
    case end(TraceVerdict)
    case jump(String)
    case goto(String)
  }

  /// The packet and what became of it.
  var trace: Trace
  let host: TracedHost
  private(set) var outcome = Outcome.next
  private var registers = [UInt8](repeating: 0, count: 64)

  init(_ trace: Trace, _ host: TracedHost) {
    self.trace = trace
    self.host = host
  }

  /// Goes on until a step does not match or decides.
  mutating func run(_ rule: NftRule, _ sets: inout [NftRuleSet.Key: NftRuleSet.Contents]) throws(TraceError) {
    for step in rule.expressions {
      let matches: Bool
      switch step {
      case .lookup(let set, let key, let to, let verdict, let inverted):
        guard let contents = sets[NftRuleSet.Key(table: rule.table, name: set)] else {
          throw TraceError("no set \(set)")
        }
        matches = lookup(contents, key, to, verdict, inverted)
      case .dynamicSet(let d):
        let name = NftRuleSet.Key(table: rule.table, name: d.set)
        guard var contents = sets[name] else { throw TraceError("no set \(d.set)") }
        change(&contents, d)
        sets[name] = contents
        matches = true
      default: matches = try run(step)
      }
      guard matches else { return }
      if case .next = outcome { continue }
      return
    }
  }

  // MARK: registers

  private func read(_ register: NftRegister, _ count: Int) -> [UInt8] {
    Array(registers[(Int(register.word) * 4)...].prefix(count))
  }

  private mutating func write(_ register: NftRegister, _ bytes: [UInt8]) {
    let start = Int(register.word) * 4
    // A word is always written whole.
    let padded = bytes + [UInt8](repeating: 0, count: (4 - bytes.count % 4) % 4)
    for (i, byte) in padded.enumerated() where start + i < registers.count { registers[start + i] = byte }
  }

  // MARK: steps

  /// False = the rule does not match.
  private mutating func run(_ step: NftExpression) throws(TraceError) -> Bool {
    switch step {
    case .meta(let key, let to): write(to, try meta(key))
    case .setMeta(.mark, let from): trace.packet.mark = Self.word(read(from, 4))
    case .payload(let header, let offset, let length, let to):
      guard let bytes = payload(header, Int(offset), Int(length)) else { return false }
      write(to, bytes)
    case .tracking(.state, _, let to): write(to, Self.bytes(trace.packet.state.rawValue))
    case .fib(.addressType, let flags, let to):
      let address = flags & 1 != 0 ? trace.packet.source : trace.packet.destination
      write(to, Self.bytes(host.addressType(address)))
    case .compare(let operation, let from, let value): return compare(operation, read(from, value.count), value)
    case .range(let operation, let register, let from, let to):
      let value = read(register, from.count)
      let isInside = !value.lexicographicallyPrecedes(from) && !to.lexicographicallyPrecedes(value)
      return isInside == (operation == .equal)
    case .bitwise(let from, let to, let mask, let xor):
      write(to, zip(read(from, mask.count), zip(mask, xor)).map { $0 & $1.0 ^ $1.1 })
    case .byteOrder(let from, let to, _, let length, let size):
      let bytes = read(from, Int(length))
      write(to, stride(from: 0, to: bytes.count, by: Int(size)).flatMap { bytes[$0...].prefix(Int(size)).reversed() })
    case .immediate(let to, let value): write(to, value)
    case .verdict(let verdict): try decide(verdict)
    case .nat, .masquerade, .reject: try translate(step)
    case .numberGenerator(random: true, let modulus, let offset, let to):
      write(to, Self.bytes(offset + UInt32(host.random() * Double(modulus))))
    case .counter: break
    default: throw TraceError("the tracer does not know \(step)")
    }
    return true
  }

  private func meta(_ key: NftExpression.Meta) throws(TraceError) -> [UInt8] {
    let packet = trace.packet
    switch key {
    case .mark: return Self.bytes(packet.mark)
    case .inputName: return Self.name(packet.input)
    case .outputName: return Self.name(packet.output)
    case .inputType: return [1, 0]
    case .networkProtocol: return [packet.family.number]
    case .transportProtocol: return [packet.protocolNumber]
    case .protocolNumber: return packet.family == .ipv4 ? [0x08, 0x00] : [0x86, 0xdd]
    default: throw TraceError("the tracer does not know meta \(key)")
    }
  }

  /// nil where the packet has no such bytes.
  private func payload(_ header: NftExpression.Header, _ offset: Int, _ length: Int) -> [UInt8]? {
    let bytes: [UInt8]
    switch header {
    case .link where !trace.packet.input.isEmpty: bytes = trace.packet.linkHeader
    case .network: bytes = trace.packet.networkHeader
    case .transport: bytes = trace.packet.transportHeader
    default: return nil
    }
    guard offset + length <= bytes.count else { return nil }
    return Array(bytes[offset..<offset + length])
  }

  private func compare(_ operation: NftExpression.Comparison, _ a: [UInt8], _ b: [UInt8]) -> Bool {
    switch operation {
    case .equal: a == b
    case .notEqual: a != b
    case .less: a.lexicographicallyPrecedes(b)
    case .lessOrEqual: !b.lexicographicallyPrecedes(a)
    case .greater: b.lexicographicallyPrecedes(a)
    case .greaterOrEqual: !a.lexicographicallyPrecedes(b)
    }
  }

  private mutating func decide(_ verdict: NftVerdict) throws(TraceError) {
    switch verdict {
    case .accept: outcome = .end(.accept)
    case .drop: outcome = .end(.drop)
    case .next: outcome = .next
    case .return: outcome = .return
    case .jump(let chain): outcome = .jump(chain)
    case .goto(let chain): outcome = .goto(chain)
    case .other(let code): throw TraceError("the tracer does not know verdict \(code)")
    }
  }

  private mutating func translate(_ step: NftExpression) throws(TraceError) {
    switch step {
    case .masquerade(let flags):
      trace.source = .masquerade(fullyRandom: flags.contains(.fullyRandom))
      outcome = .end(.accept)
    case .reject: outcome = .end(.reject)
    case .nat(let nat):
      let width = nat.family == 2 ? 4 : 16
      let address = nat.address.flatMap { IPAddress(bytes: read($0, width)) }
      let port = nat.port.map { read($0, 2) }.map { UInt16($0[0]) << 8 | UInt16($0[1]) }
      switch nat.kind {
      case .destination: trace.translate(to: address, port)
      case .source: trace.source = address.map { .address($0) }
      }
      outcome = .end(.accept)
    default: break
    }
  }

  // MARK: sets

  private mutating func lookup(
    _ contents: NftRuleSet.Contents, _ key: NftRegister, _ to: NftRegister?, _ verdict: Bool, _ inverted: Bool
  ) -> Bool {
    let found = contents.find(read(key, contents.set.keyLength), host.now)
    if inverted { return found == nil }
    guard let found else { return false }
    switch found.value {
    case .data(let bytes): if let to { write(to, bytes) }
    case .verdict(let v): if verdict { try? decide(v) }
    case nil: break
    }
    return true
  }

  private func change(_ contents: inout NftRuleSet.Contents, _ d: NftExpression.DynamicSet) {
    let key = read(d.key, contents.set.keyLength)
    let isThere = contents.find(key, host.now) != nil
    if d.operation == .add, isThere { return }
    contents.elements.removeAll { $0.key == key }
    guard d.operation != .delete else { return }
    let timeout = d.timeout > 0 ? d.timeout : contents.set.timeout
    contents.elements.append(
      NftElement(
        key: key, value: d.data.map { .data(read($0, contents.set.dataLength)) }, timeout: timeout,
        expiration: timeout > 0 ? host.now + timeout : 0))
  }

  // MARK: values in the machine's byte order

  static func bytes(_ value: UInt32) -> [UInt8] { (0..<4).map { UInt8(truncatingIfNeeded: value >> ($0 * 8)) } }
  static func word(_ bytes: [UInt8]) -> UInt32 { bytes.reversed().reduce(0) { $0 << 8 | UInt32($1) } }
  static func name(_ text: String) -> [UInt8] {
    Array(text.utf8) + [UInt8](repeating: 0, count: 16 - text.utf8.count)
  }
}

extension NftRuleSet.Contents {
  /// The element that has the key, or the one for all others. In elements that a packet made, `expiration` is a time of
  /// the test's clock.
  func find(_ key: [UInt8], _ now: UInt64) -> NftElement? {
    let alive = elements.filter { $0.timeout == 0 || $0.expiration > now }
    let all = alive.first { $0.isCatchAll }
    let keyed = alive.filter { !$0.isCatchAll }
    guard set.flags.contains(.interval) else { return keyed.first { $0.key == key } ?? all }
    if set.key.count > 1 { return keyed.first { contains(key, $0) } ?? all }
    // The elements are the places where a range starts or has ended.
    let before = keyed.filter { !key.lexicographicallyPrecedes($0.key) }
    let last = before.max { $0.key.lexicographicallyPrecedes($1.key) }
    return last.flatMap { $0.isIntervalEnd ? nil : $0 } ?? all
  }

  /// True when every field of the key lies in the range of the element's.
  private func contains(_ key: [UInt8], _ element: NftElement) -> Bool {
    let end = element.keyEnd ?? element.key
    var start = 0
    for type in set.key {
      let field = start..<start + type.length
      start += (type.length + 3) & ~3
      guard key.count >= field.upperBound, element.key.count >= field.upperBound else { return false }
      let value = key[field]
      if value.lexicographicallyPrecedes(element.key[field]) || end[field].lexicographicallyPrecedes(value) {
        return false
      }
    }
    return true
  }
}
