/// What `nft` keeps beside an object for itself: a list of type, length, value. The kernel does not look inside.
enum NftUserData {
  /// Tables, chains, rules and elements keep their comment under this number.
  static let comment: UInt8 = 0
  /// Sets keep theirs under this one.
  static let setComment: UInt8 = 7
  /// Byte orders of a set's key and data, which `nft` needs for printing.
  static let keyByteOrder: UInt8 = 0
  static let dataByteOrder: UInt8 = 1

  /// The value of a type; nil when it is not there or the list is cut.
  static func value(_ type: UInt8, in bytes: [UInt8]) -> [UInt8]? {
    var rest = bytes[...]
    while let t = rest.popFirst(), let length = rest.popFirst() {
      guard rest.count >= Int(length) else { return nil }
      if t == type { return Array(rest.prefix(Int(length))) }
      rest = rest.dropFirst(Int(length))
    }
    return nil
  }

  /// A comment; invalid UTF-8 is replaced.
  static func comment(_ type: UInt8 = comment, in bytes: [UInt8]) -> String? {
    value(type, in: bytes).map { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
  }

  /// One entry; a value of more than 255 bytes is cut.
  static func entry(_ type: UInt8, _ value: some Collection<UInt8>) -> [UInt8] {
    let value = value.prefix(255)
    return [type, UInt8(clamping: value.count)] + value
  }

  /// A comment as `nft` writes it, with its zero; nothing for nil. More than `NftRule.commentLimit` bytes are cut, at a
  /// character, so that the listing stays valid UTF-8.
  static func entry(_ type: UInt8 = comment, comment text: String?) -> [UInt8] {
    guard let text else { return [] }
    var cut = 0
    for scalar in text.unicodeScalars {
      let next = cut + UTF8.width(scalar)
      if next > NftRule.commentLimit { break }
      cut = next
    }
    return entry(type, Array(text.utf8.prefix(cut)) + [0])
  }
}
