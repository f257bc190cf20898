/// Times as the API writes them: RFC 3339.
public enum Timestamp {
  /// Seconds since the epoch; nil when the text is no time. A fraction of a second is dropped.
  public static func seconds(parsing text: String) -> Int64? {
    let s = Array(text.utf8.prefix(64))
    func number(_ at: Int, _ count: Int, _ range: ClosedRange<Int64>) -> Int64? {
      guard at + count <= s.count else { return nil }
      var value: Int64 = 0
      for c in s[at..<at + count] {
        guard (0x30...0x39).contains(c) else { return nil }
        value = value * 10 + Int64(c &- 0x30)
      }
      return range.contains(value) ? value : nil
    }
    func has(_ c: Unicode.Scalar, at i: Int) -> Bool { i < s.count && UInt32(s[i] & 0xdf) == c.value & 0xdf }
    guard let year = number(0, 4, 0...9999), has("-", at: 4), let month = number(5, 2, 1...12), has("-", at: 7),
      let day = number(8, 2, 1...31), has("T", at: 10), let hour = number(11, 2, 0...23), has(":", at: 13),
      let minute = number(14, 2, 0...59), has(":", at: 16), let second = number(17, 2, 0...60)
    else { return nil }
    var i = 19
    if i < s.count, s[i] == UInt8(ascii: ".") {
      i += 1
      let start = i
      while i < s.count, (0x30...0x39).contains(s[i]) { i += 1 }
      guard i > start else { return nil }
    }
    var offset: Int64 = 0
    if has("Z", at: i), i + 1 == s.count {
    } else if i + 6 == s.count, s[i] == UInt8(ascii: "+") || s[i] == UInt8(ascii: "-"),
      let hours = number(i + 1, 2, 0...23), has(":", at: i + 3), let minutes = number(i + 4, 2, 0...59)
    {
      offset = (hours * 60 + minutes) * 60 * (s[i] == UInt8(ascii: "+") ? 1 : -1)
    } else {
      return nil
    }
    return (days(year, month, day) * 24 + hour) * 3600 + minute * 60 + second - offset
  }

  /// The time as the API writes it, such as `2026-01-02T03:04:05Z`.
  /// - Parameter seconds: since the epoch, in the years 0 to 9999.
  public static func text(_ seconds: Int64) -> String {
    let days = seconds >= 0 ? seconds / 86400 : (seconds - 86399) / 86400
    let rest = seconds - days * 86400
    let (year, month, day) = date(days)
    func padded(_ n: Int64, _ width: Int) -> String {
      let digits = String(n)
      return String(repeating: "0", count: max(0, width - digits.utf8.count)) + digits
    }
    return "\(padded(year, 4))-\(padded(month, 2))-\(padded(day, 2))T"
      + "\(padded(rest / 3600, 2)):\(padded(rest / 60 % 60, 2)):\(padded(rest % 60, 2))Z"
  }

  /// Days since 1970-01-01 in the Gregorian calendar: years begin in March, so that the leap day is the last.
  private static func days(_ year: Int64, _ month: Int64, _ day: Int64) -> Int64 {
    let y = month <= 2 ? year - 1 : year
    let era = (y >= 0 ? y : y - 399) / 400
    let yearOfEra = y - era * 400
    let dayOfYear = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1
    return era * 146_097 + yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear - 719_468
  }

  private static func date(_ days: Int64) -> (Int64, Int64, Int64) {
    let z = days + 719_468
    let era = (z >= 0 ? z : z - 146_096) / 146_097
    let dayOfEra = z - era * 146_097
    let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
    let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
    let shifted = (5 * dayOfYear + 2) / 153
    let month = shifted < 10 ? shifted + 3 : shifted - 9
    return (yearOfEra + era * 400 + (month <= 2 ? 1 : 0), month, dayOfYear - (153 * shifted + 2) / 5 + 1)
  }
}
