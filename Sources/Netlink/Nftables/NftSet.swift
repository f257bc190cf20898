/// A type of value as `nft` numbers it; the kernel only stores the number. Concatenations put six bits a type together.
public struct NftDatatype: RawRepresentable, Hashable, Sendable {
  /// The number of `nft`.
  public let rawValue: UInt32
  /// Takes any number.
  public init(rawValue: UInt32) { self.rawValue = rawValue }

  /// A number; four bytes here.
  public static let integer = NftDatatype(rawValue: 4)
  /// `ipv4_addr`
  public static let ipv4Address = NftDatatype(rawValue: 7)
  /// `ipv6_addr`
  public static let ipv6Address = NftDatatype(rawValue: 8)
  /// `ether_addr`
  public static let etherAddress = NftDatatype(rawValue: 9)
  /// `inet_proto`
  public static let inetProtocol = NftDatatype(rawValue: 12)
  /// `inet_service`: a port.
  public static let inetService = NftDatatype(rawValue: 13)
  /// `mark`
  public static let mark = NftDatatype(rawValue: 19)
  /// `ifname`
  public static let interfaceName = NftDatatype(rawValue: 41)
  /// `NFT_DATA_VERDICT`: the data of a verdict map.
  public static let verdict = NftDatatype(rawValue: 0xffff_ff00)

  /// Several values one behind the other: `ipv4_addr . inet_proto . inet_service`.
  public static func concatenation(_ types: [NftDatatype]) -> NftDatatype {
    NftDatatype(rawValue: types.reduce(0) { $0 << 6 | $1.rawValue & 63 })
  }

  /// The types put together, first one first; a single one is itself.
  public var parts: [NftDatatype] {
    var rest = rawValue
    var out: [NftDatatype] = []
    while rest != 0, self != .verdict {
      out.insert(NftDatatype(rawValue: rest & 63), at: 0)
      rest >>= 6
    }
    return out
  }

  /// Bytes of a single value; 0 = not known here.
  public var length: Int { Int(clamping: rawValue) < Self.lengths.count ? Int(Self.lengths[Int(rawValue)]) : 0 }

  /// By number, as in `enum datatypes` of nft; lengths of link layer addresses, strings and labels vary.
  private static let lengths: [UInt8] = [
    0, 0, 1, 4, 4, 0, 0, 4, 16, 6, 2, 2, 1, 2, 1, 1, 1, 1, 8, 4, 4, 2, 4, 4, 4, 4, 4, 1, 4, 1, 16, 1, 1, 1, 1, 4, 1, 1,
    4, 1, 4, 16,
  ]

  /// True for values that the machine keeps in its own byte order: numbers it makes (not those of packets), marks, interface numbers and types, routing realms,
  /// classes, users, groups, states, packet and address types, names.
  var isHostOrder: Bool {
    switch rawValue {
    case 4, 18...28, 31, 35, 38, 40, 41: true
    default: false
    }
  }
}

/// A named set, map or verdict map.
public struct NftSet: Hashable, Sendable {
  /// `NFT_SET_*`
  public struct Flags: OptionSet, Hashable, Sendable {
    /// The kernel's number.
    public let rawValue: UInt32
    /// Takes the kernel's number.
    public init(rawValue: UInt32) { self.rawValue = rawValue }

    /// Belongs to the one rule that uses it.
    public static let anonymous = Flags(rawValue: 0x1)
    /// Cannot change while a rule uses it.
    public static let constant = Flags(rawValue: 0x2)
    /// Keys are ranges.
    public static let interval = Flags(rawValue: 0x4)
    /// Keys have values.
    public static let map = Flags(rawValue: 0x8)
    /// Elements may end by themselves.
    public static let timeout = Flags(rawValue: 0x10)
    /// Packets may change the set.
    public static let dynamic = Flags(rawValue: 0x20)
    /// Values are names of stateful objects.
    public static let object = Flags(rawValue: 0x40)
    /// Set by the kernel's users for keys of several fields with intervals.
    public static let concatenation = Flags(rawValue: 0x80)
  }

  /// The table it belongs to.
  public var table: NftTable.ID
  /// Unique in the table.
  public var name: String
  /// What it can do.
  public var flags: Flags
  /// The types of the key's fields.
  public var key: [NftDatatype]
  /// The key is printed as a number in the machine's byte order; fields of a concatenation say it themselves. Packets have
  /// integers in network order, `numgen` and `jhash` make them in the machine's.
  public var isKeyHostOrder: Bool
  /// The types of the data's fields; `[.verdict]` for a verdict map, nil for a set.
  public var data: [NftDatatype]?
  /// Milliseconds that an element lives; 0 = for ever.
  public var timeout: UInt64
  /// Up to `NftRule.commentLimit` bytes; the rest is cut.
  public var comment: String?

  /// A set or, with `data`, a map to be made.
  public init(
    _ table: NftTable.ID, _ name: String, key: [NftDatatype], data: [NftDatatype]? = nil, flags: Flags = [],
    timeout: UInt64 = 0, comment: String? = nil
  ) {
    self.table = table
    self.name = name
    self.key = key
    self.isKeyHostOrder = key.count == 1 && key[0].isHostOrder
    self.data = data
    self.flags = flags.union(data == nil ? [] : .map).union(timeout > 0 ? .timeout : [])
    self.timeout = timeout
    self.comment = comment
  }

  /// Bytes of a key: each field is padded to a multiple of four when there are several.
  public var keyLength: Int { Self.length(key) }
  /// Bytes of a value; 0 for sets and verdict maps.
  public var dataLength: Int { data == [.verdict] ? 0 : Self.length(data ?? []) }

  private static func length(_ types: [NftDatatype]) -> Int {
    types.count == 1 ? types[0].length : types.reduce(0) { $0 + padded($1.length) }
  }

  static func padded(_ n: Int) -> Int { (n + 3) & ~3 }
}

/// An element of a set or map.
public struct NftElement: Hashable, Sendable {
  /// What a map gives for a key.
  public enum Value: Hashable, Sendable {
    case data([UInt8])
    case verdict(NftVerdict)
  }

  /// The key; fields of a concatenation are padded to four bytes each.
  public var key: [UInt8]
  /// The end of an interval of a key with several fields, included; nil = a single key.
  public var keyEnd: [UInt8]?
  /// What a map gives for the key; nil in sets.
  public var value: Value?
  /// The first key behind an interval (`NFT_SET_ELEM_INTERVAL_END`), in sets with one field.
  public var isIntervalEnd: Bool
  /// The element for all keys that have none.
  public var isCatchAll: Bool
  /// Milliseconds this element lives; 0 = as the set says.
  public var timeout: UInt64
  /// Milliseconds left; read only.
  public var expiration: UInt64
  /// Up to `NftRule.commentLimit` bytes; the rest is cut.
  public var comment: String?

  /// Every field as given.
  public init(
    key: [UInt8], keyEnd: [UInt8]? = nil, value: Value? = nil, isIntervalEnd: Bool = false, isCatchAll: Bool = false,
    timeout: UInt64 = 0, expiration: UInt64 = 0, comment: String? = nil
  ) {
    self.key = key
    self.keyEnd = keyEnd
    self.value = value
    self.isIntervalEnd = isIntervalEnd
    self.isCatchAll = isCatchAll
    self.timeout = timeout
    self.expiration = expiration
    self.comment = comment
  }
}

extension NftElement {
  /// What occurs only once in a set.
  struct Identity: Hashable {
    var key: [UInt8]
    var keyEnd: [UInt8]?
    var isIntervalEnd: Bool
    var isCatchAll: Bool
  }

  /// The end of one interval may be the start of the next.
  var identity: Identity {
    Identity(key: key, keyEnd: keyEnd, isIntervalEnd: isIntervalEnd, isCatchAll: isCatchAll)
  }
}
