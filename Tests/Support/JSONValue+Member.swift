import JSON

extension JSONValue {
  /// A member of an object; nil for anything else and where there is none.
  public subscript(_ name: String) -> JSONValue? { objectValue?[name] }
}
