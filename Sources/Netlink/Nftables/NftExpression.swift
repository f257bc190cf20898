/// A register of the nf_tables machine: one of sixteen words of four bytes. Longer values take the words that follow.
public struct NftRegister: Hashable, Sendable {
  /// 0…15.
  public let word: UInt8

  /// The word with a number; larger numbers wrap.
  public init(word: UInt8) { self.word = word & 15 }

  /// The four registers of sixteen bytes.
  public static let r1 = NftRegister(word: 0)
  /// The second.
  public static let r2 = NftRegister(word: 4)
  /// The third.
  public static let r3 = NftRegister(word: 8)
  /// The fourth.
  public static let r4 = NftRegister(word: 12)

  /// The kernel's number, in the form in which it reports it: 1…4 where it can, else 8…23.
  var number: UInt32 { word & 3 == 0 ? UInt32(word / 4) + 1 : UInt32(word) + 8 }

  /// nil for the verdict register and for numbers that are none.
  init?(number: UInt32) {
    switch number {
    case 1...4: self.init(word: UInt8(number - 1) * 4)
    case 8...23: self.init(word: UInt8(number - 8))
    default: return nil
    }
  }
}

/// How the evaluation goes on (`NFT_*`, `NF_*`).
public enum NftVerdict: Hashable, Sendable {
  case drop
  case accept
  /// The next rule.
  case next
  /// Back to the chain that jumped here.
  case `return`
  /// On in another chain, and back.
  case jump(String)
  /// On in another chain, not back.
  case goto(String)
  /// A verdict that has no name here, by the kernel's number.
  case other(Int32)

  /// The chain that a jump or goto leads to.
  public var target: String? {
    switch self {
    case .jump(let c), .goto(let c): c
    default: nil
    }
  }
}

/// One step of a rule. Whatever has no case here is kept as it came (`other`), so that a rule is never mistaken for
/// another one.
public enum NftExpression: Hashable, Sendable {
  /// What a packet carries beside its bytes (`NFT_META_*`).
  public enum Meta: UInt32, Hashable, Sendable, CaseIterable {
    case length = 0
    case protocolNumber, priority, mark, inputIndex, outputIndex, inputName, outputName, inputType, outputType
    case socketUser, socketGroup, trace, routeClass, securityMark, networkProtocol, transportProtocol
    case bridgeInputName, bridgeOutputName, packetType, cpu, inputGroup, outputGroup, controlGroup, random
  }

  /// Where a payload offset counts from (`NFT_PAYLOAD_*_HEADER`).
  public enum Header: UInt32, Hashable, Sendable {
    case link = 0
    case network = 1
    case transport = 2
    case inner = 3
  }

  /// Connection tracking keys (`NFT_CT_*`).
  public enum Tracking: UInt32, Hashable, Sendable, CaseIterable {
    case state = 0
    case direction, status, mark, securityMark, expiration, helper, networkProtocol, source, destination,
      transportProtocol
    case sourcePort, destinationPort, labels, packets, bytes, averagePacket, zone, eventMask, sourceIPv4
    case destinationIPv4, sourceIPv6, destinationIPv6, id
  }

  /// `NFT_CMP_*`; a range knows only the first two.
  public enum Comparison: UInt32, Hashable, Sendable {
    case equal = 0
    case notEqual, less, lessOrEqual, greater, greaterOrEqual
  }

  /// What a route look-up answers (`NFT_FIB_RESULT_*`).
  public enum FIBResult: UInt32, Hashable, Sendable {
    case outputIndex = 1
    case outputName, addressType
  }

  /// Operations on a set at packet time (`NFT_DYNSET_OP_*`).
  public enum SetOperation: UInt32, Hashable, Sendable {
    case add = 0
    case update, delete
  }

  /// Address translation (`nat`): registers of address and port; nil = left alone.
  public struct NAT: Hashable, Sendable {
    /// Which end is translated (`NFT_NAT_*`).
    public enum Kind: UInt32, Hashable, Sendable {
      case source = 0
      case destination = 1
    }
    /// Which end is translated.
    public var kind: Kind
    /// 2 = IPv4, 10 = IPv6.
    public var family: UInt32
    /// The address, or the first one of a range.
    public var address: NftRegister?
    /// End of an address range; nil = one address.
    public var addressEnd: NftRegister?
    /// The port, or the first one of a range.
    public var port: NftRegister?
    /// End of a port range; nil = one port.
    public var portEnd: NftRegister?
    /// How addresses and ports are chosen.
    public var flags: NftNATFlags

    /// Every field as given.
    public init(
      _ kind: Kind, family: UInt32, address: NftRegister? = nil, addressEnd: NftRegister? = nil,
      port: NftRegister? = nil, portEnd: NftRegister? = nil, flags: NftNATFlags = []
    ) {
      self.kind = kind
      self.family = family
      self.address = address
      self.addressEnd = addressEnd
      self.port = port
      self.portEnd = portEnd
      self.flags = flags
    }
  }

  /// Adds to, updates or deletes from a set when a packet comes by.
  public struct DynamicSet: Hashable, Sendable {
    /// What is done with the element.
    public var operation: SetOperation
    /// Name of the set or map, in the rule's table.
    public var set: String
    /// Where the key is.
    public var key: NftRegister
    /// Where a map's value is; nil for sets.
    public var data: NftRegister?
    /// Milliseconds an element lives; 0 = as the set says.
    public var timeout: UInt64

    /// Every field as given.
    public init(
      _ operation: SetOperation, set: String, key: NftRegister, data: NftRegister? = nil, timeout: UInt64 = 0
    ) {
      self.operation = operation
      self.set = set
      self.key = key
      self.data = data
      self.timeout = timeout
    }
  }

  case meta(Meta, NftRegister)
  case setMeta(Meta, NftRegister)
  case payload(Header, offset: UInt32, length: UInt32, NftRegister)
  case tracking(Tracking, direction: UInt8?, NftRegister)
  case setTracking(Tracking, NftRegister)
  /// A route look-up; `flags` are `NFTA_FIB_F_*`: 1 source, 2 destination, 4 mark, 8 input, 16 output interface, 32 only
  /// whether there is a route.
  case fib(FIBResult, flags: UInt32, NftRegister)
  case compare(Comparison, NftRegister, [UInt8])
  case range(Comparison, NftRegister, from: [UInt8], to: [UInt8])
  /// `to = from & mask ^ xor`, byte by byte.
  case bitwise(from: NftRegister, to: NftRegister, mask: [UInt8], xor: [UInt8])
  /// Swaps bytes: `operation` 0 from, 1 to network order; in units of `size` bytes.
  case byteOrder(from: NftRegister, to: NftRegister, operation: UInt32, length: UInt32, size: UInt32)
  /// Looks a key up in a set or map; `to` is where a map's value goes, `verdict` when it is a verdict map.
  case lookup(set: String, key: NftRegister, to: NftRegister?, verdict: Bool, inverted: Bool)
  case immediate(NftRegister, [UInt8])
  case verdict(NftVerdict)
  case nat(NAT)
  case masquerade(NftNATFlags)
  /// To a local port; nil = the same.
  case redirect(NftRegister?, NftNATFlags)
  /// `type` 0 ICMP unreachable, 1 TCP reset, 2 ICMP of either family; `code` belongs to it.
  case reject(type: UInt32, code: UInt8)
  /// Numbers `offset` … `offset + modulus - 1`, one after the other or at random.
  case numberGenerator(random: Bool, modulus: UInt32, offset: UInt32, NftRegister)
  case counter(packets: UInt64, bytes: UInt64)
  case dynamicSet(DynamicSet)
  /// A match or target of iptables, as iptables-nft puts it into a rule.
  case compatibility(isTarget: Bool, name: String, revision: UInt32, info: [UInt8])
  /// Any other expression: its name and its attributes as they came.
  case other(name: String, [UInt8])
}

/// `NF_NAT_RANGE_*` that a user gives; what only says which fields are there is left out.
public struct NftNATFlags: OptionSet, Hashable, Sendable {
  /// The kernel's number.
  public let rawValue: UInt32
  /// Takes the kernel's number.
  public init(rawValue: UInt32) { self.rawValue = rawValue }

  /// Any port of the range, by a hash of the connection.
  public static let random = NftNATFlags(rawValue: 1 << 2)
  /// The same address for all connections of a client.
  public static let persistent = NftNATFlags(rawValue: 1 << 3)
  /// Any port of the range, truly at random.
  public static let fullyRandom = NftNATFlags(rawValue: 1 << 4)
  /// Map an address range one to one.
  public static let netmap = NftNATFlags(rawValue: 1 << 6)

  /// `NF_NAT_RANGE_MAP_IPS`, `NF_NAT_RANGE_PROTO_SPECIFIED`: set by the kernel.
  static let implied: UInt32 = 1 << 0 | 1 << 1

  init(kernel number: UInt32) { self.init(rawValue: number & ~Self.implied) }
}
