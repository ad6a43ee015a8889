//! SOAP calls, as the actions of the REST API that do the same.

use super::Store;
use crate::{answers::Answer, call::Call, soap};

impl Store {
    pub(super) fn soap(&mut self, call: &Call) -> Option<Answer> {
        let envelope = call.soap.as_ref()?;
        let name = envelope.call.as_str();
        if name == "getUserInfo" {
            let user = call.caller.as_ref().map_or("", |caller| caller.who.name.as_str());
            return Some(soap::user_info(user));
        }
        if !envelope.types_are_known() {
            return Some(soap::fault("INVALID_TYPE", "There is no such type of object."));
        }
        let known = ["query", "queryMore", "create", "update", "generate", "delete", "subscribe"];
        if !known.contains(&name) {
            return Some(soap::client_fault(&format!("there is no call `{name}` here")));
        }
        let action = self.action(call, name)?;
        Some(soap::from_action(envelope, &action))
    }
}
